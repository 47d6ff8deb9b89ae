"""Work on other machines: outcomes in order, whatever becomes of those who do it."""

from __future__ import annotations

import collections
import dataclasses
import os
import pickle
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mri_transfer.errors import ConfigurationError, MachineError, WeightsError
from pipelines.engines import chunk as chunk_module
from pipelines.engines.choice import executor_for
from pipelines.engines.chunk import Chunk, Done, Probe, laid_probe
from pipelines.engines.executor import LocalExecutor
from pipelines.engines.remote import RemoteExecutor
from pipelines.engines.settings import ExecutorSpec
from pipelines.engines.slurm import SlurmExecutor
from tests.pipelines.pool_jobs import do_all

ROOT = Path(__file__).resolve().parents[2]
Job = tuple[str, str]


def _numbers(n: int) -> list[Job]:
    return [("number", str(i)) for i in range(n)]


def _lost(job: Job, reason: str) -> str:
    return f"LOST {job[1]}: {reason}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mortal(RemoteExecutor):
    """Workers that live here, and die of jobs named `kill`; the last chunk is done first."""

    notes: list[str] = dataclasses.field(default_factory=list)
    deaths: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    alone: list[int] = dataclasses.field(default_factory=list)
    immortal_alone: bool = False

    @property
    def cores(self) -> int:
        return 1

    def chunk_size(self, n_jobs: int) -> int:
        return 3

    def run(self, chunks, *, alone: bool) -> Iterator[tuple[int, Done[Any] | str]]:
        for index, chunk in reversed(list(enumerate(chunks))):
            # What travels must be plain: module-level functions by name, and data.
            sent: Chunk[Any, Any] = pickle.loads(pickle.dumps(chunk))
            killers = [value for kind, value in sent.jobs if kind == "kill"]
            if alone:
                self.alone.append(len(sent.jobs))
            if killers and not (alone and self.immortal_alone):
                self.deaths.update(killers)
                yield index, "killed"
            else:
                jobs = tuple(("number", value) for _, value in sent.jobs)
                yield index, dataclasses.replace(sent, jobs=jobs).run()


def _mortal(cache: Path, **options: bool) -> Mortal:
    notes: list[str] = []
    return Mortal(cache=cache, note=notes.append, notes=notes, **options)


def test_outcomes_come_in_the_order_of_the_jobs_whoever_is_done_first(tmp_path: Path) -> None:
    found = list(_mortal(tmp_path).map(do_all, _numbers(7)))
    assert found == [f"number {i}" for i in range(7)]
    assert list(LocalExecutor().map(do_all, _numbers(7))) == found
    assert not list((tmp_path / "jobs").iterdir())


def test_a_scan_that_kills_its_worker_twice_is_lost_and_no_other(tmp_path: Path) -> None:
    workers = _mortal(tmp_path)
    jobs = _numbers(8)
    jobs[4] = ("kill", "4")
    found = list(workers.map(do_all, jobs, lost=_lost))
    assert [found[i] for i in range(8) if i != 4] == [f"number {i}" for i in range(8) if i != 4]
    assert found[4].startswith("LOST 4: its worker ended twice")
    assert "(killed)" in found[4]
    # Once among others, which might have been to blame, and twice by itself.
    assert workers.deaths == {"4": 3}
    assert workers.alone == [1, 1, 1, 1]
    assert workers.notes[0] == "3 tasks ended with their workers, and are tried once more"


def test_a_scan_whose_worker_was_killed_once_is_not_lost(tmp_path: Path) -> None:
    workers = _mortal(tmp_path, immortal_alone=True)
    jobs = [*_numbers(4), ("kill", "4")]
    assert list(workers.map(do_all, jobs, lost=_lost)) == [f"number {i}" for i in range(5)]


def test_work_that_must_not_be_lost_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"kill.*its worker ended twice"):
        list(_mortal(tmp_path).map(do_all, [("kill", "x")]))


def test_an_error_that_concerns_all_scans_names_the_machine(tmp_path: Path) -> None:
    with laid_probe(tmp_path) as probe:
        done = _chunk(probe, ("weights", "/w"), ("number", "1")).run()
    assert isinstance(done.fault, WeightsError)
    assert f"on {socket.gethostname()}" in str(pickle.loads(pickle.dumps(done)).fault)
    with laid_probe(tmp_path) as probe:
        full = _chunk(probe, ("full", "/cache/x")).run()
    assert isinstance(full.fault, MachineError)
    assert "the disk is full" in str(full.fault)


def _chunk(probe: Probe, *jobs: Job, files: tuple[str, ...] = ()) -> Chunk[Job, str]:
    return Chunk(batch=do_all, jobs=jobs, cores=1, probe=probe, files=files)


def _fault(probe: Probe, **options: tuple[str, ...]) -> str:
    done = _chunk(dataclasses.replace(probe, patience_s=0), ("number", "1"), **options).run()
    assert isinstance(done.fault, MachineError)
    assert not done.outcomes
    return str(done.fault)


def test_a_machine_that_does_not_see_the_cache_or_the_scans_is_told_so(tmp_path: Path) -> None:
    with laid_probe(tmp_path) as probe:
        assert _chunk(probe, ("number", "1")).run() == Done(outcomes=("number 1",))
        elsewhere = dataclasses.replace(probe, path=tmp_path / "other" / "jobs" / "probe")
        assert f"does not see the cache {tmp_path / 'other'}" in _fault(elsewhere)
        assert "does not see the cache" in _fault(dataclasses.replace(probe, nonce="another"))
        assert "does not see the scan /none.nii" in _fault(probe, files=("/none.nii",))
        assert "another version" in _fault(dataclasses.replace(probe, version="0.0.1"))


@pytest.mark.slow
def test_a_node_without_the_caches_file_system_says_so_before_any_work(tmp_path: Path) -> None:
    """A mount namespace of its own, in which something else lies where the cache should be."""
    cache = tmp_path / "cache"
    with laid_probe(cache) as probe:
        sent = _chunk(dataclasses.replace(probe, patience_s=0), ("number", "1"))
        (tmp_path / "chunk").write_bytes(pickle.dumps(sent))
        run = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).run().fault)"
        script = f'mount -t tmpfs tmpfs {cache} && exec {sys.executable} -c "{run}" $0'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, str(tmp_path / "chunk")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("file systems cannot be mounted here")
    assert f"does not see the cache {cache}" in done.stdout
    assert "all machines mount at the same path" in done.stdout


def test_a_file_that_shows_up_late_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_module, "_LOOK_S", 0.01)
    late = tmp_path / "scan.nii"
    with laid_probe(tmp_path) as probe:
        threading.Timer(0.2, late.touch).start()
        assert _chunk(probe, ("number", "1"), files=(str(late),)).run().fault is None


def test_a_worker_that_cannot_start_processes_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_module.multiprocessing.current_process(), "daemon", True)
    with laid_probe(tmp_path) as probe:
        assert "DASK_DISTRIBUTED__WORKER__DAEMON=False" in _fault(probe)


def test_files_that_are_gone_everywhere_are_the_scans_own_fault(tmp_path: Path) -> None:
    """Only what the driver sees is asked of the others."""
    found = _mortal(tmp_path).map(do_all, _numbers(1), reads=lambda job: f"/none/{job[1]}.nii")
    assert list(found) == ["number 0"]


def test_the_settings_choose_the_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(**settings: Any) -> Any:
        return executor_for(ExecutorSpec(**settings), cache=tmp_path, note=print, jobs=3, gpus=True)

    assert chosen() == LocalExecutor(jobs=3)
    slurm = chosen(kind="slurm", gpus=2, cpus=5, scans_per_job=10)
    assert (slurm.gpus, slurm.cores) == (2, 5)
    # One array however many scans there are; SLURM takes a thousand jobs.
    assert [slurm.chunk_size(n) for n in (4, 10_000, 50_000)] == [10, 10, 50]
    assert chosen(kind="dask", scheduler="tcp://h:1").scheduler == "tcp://h:1"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match="no SLURM"):
        list(slurm.map(do_all, _numbers(1)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="no submitit"):
        chosen(kind="slurm")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SLURM's commands, of a queue that starts every job at once on this machine."""
    commands, state = tmp_path / "bin", tmp_path / "queue"
    commands.mkdir()
    state.mkdir()
    for name in ("sbatch", "srun", "squeue", "scancel", "scontrol"):
        command = commands / name
        phantom = ROOT / "tests" / "pipelines" / "queue_phantom.py"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {phantom} {name} "$@"\n')
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(state))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return state


def _slurm(cache: Path, **settings: Any) -> SlurmExecutor:
    spec = ExecutorSpec(kind="slurm", scans_per_job=2, cpus=1, **settings)
    return SlurmExecutor(
        cache=cache, note=lambda _: None, spec=spec, poll_s=0.1, queue_s=0.5, grace_s=1
    )


@pytest.mark.slow
def test_slurm_jobs_do_their_chunks_and_what_kills_them_is_lost(
    queue: Path, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    jobs = [*_numbers(2), ("kill", ""), ("kill once", str(once))]
    settings = {"partition": "long", "options": ("qos=low", "--exclusive"), "setup": ("true",)}
    found = list(_slurm(tmp_path / "cache", **settings).map(do_all, jobs, lost=_lost))
    assert [*found[:2], found[3]] == ["number 0", "number 1", f"kill once {once}"]
    assert "its worker ended twice" in found[2]
    assert "executor.memory_gb" in found[2]
    (log,) = (Path(word.rstrip(").")) for word in found[2].split() if "_log.err" in word)
    assert log.is_file()
    script = next(queue.glob("*.sh")).read_text()
    for line in ("partition=long", "qos=low", "exclusive", "mem=8192MB", "signal=USR2@90"):
        assert f"#SBATCH --{line}\n" in script
    assert "#SBATCH --array=0-1%2" in script


@pytest.mark.slow
def test_a_slurm_job_that_is_told_to_stop_is_queued_again_and_goes_on(
    queue: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    found: list[str] = []
    work = threading.Thread(
        target=lambda: found.extend(
            _slurm(tmp_path / "cache").map(do_all, [("hang once", str(first)), *_numbers(1)])
        )
    )
    work.start()
    deadline = time.monotonic() + 120
    while not (first.exists() and first.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(int(first.read_text()), signal.SIGUSR2)
    work.join(120)
    assert found == [f"hang once {first}", "number 0"]
    assert (queue / "requeued").read_text().split()
    # Nothing is left of jobs that succeeded.
    assert not list((tmp_path / "cache" / "jobs").iterdir())


@pytest.mark.slow
def test_jobs_are_cancelled_when_the_run_ends_early(queue: Path, tmp_path: Path) -> None:
    jobs = _slurm(tmp_path / "cache").map(
        do_all, [*_numbers(2), ("hang", str(tmp_path / "pid")), ("number", "3")]
    )
    assert next(jobs) == "number 0"
    jobs.close()
    deadline = time.monotonic() + 60
    while (listed := _listed()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not listed


def _listed() -> str:
    return subprocess.run(["squeue"], capture_output=True, text=True, check=True).stdout
