"""Real SLURM on this machine: its daemons, two virtual nodes, jobs submitted by sbatch."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pipelines.engines.settings import ExecutorSpec
from pipelines.engines.slurm import SlurmExecutor
from tests.pipelines.clusters import MISSING, printed, slurm_cluster, wait_for
from tests.pipelines.conftest import SmallJob
from tests.pipelines.pool_jobs import do_all
from tests.pipelines.remote_runs import demand_same_bytes_although_killed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: install slurm-wlm, munge"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can start SLURM's daemons"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """SLURM's daemons, and what finds them in the environment."""
    with (
        slurm_cluster(tmp_path_factory.mktemp("slurm")) as environment,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


def _executor(cache: Path, *, time_min: int = 30) -> SlurmExecutor:
    spec = ExecutorSpec(
        kind="slurm", partition="long", scans_per_job=2, cpus=1, memory_gb=1, time_min=time_min
    )
    return SlurmExecutor(
        cache=cache, note=lambda _: None, spec=spec, poll_s=0.2, queue_s=1, grace_s=5
    )


def test_an_array_does_its_chunks_and_what_kills_its_job_twice_is_lost(
    cluster: None, tmp_path: Path
) -> None:
    jobs = [("number", "0"), ("number", "1"), ("kill", "")]
    found = list(_executor(tmp_path).map(do_all, jobs, lost=lambda job, why: f"LOST: {why}"))
    assert found[:2] == ["number 0", "number 1"]
    assert found[2].startswith("LOST: its worker ended twice")


def test_a_job_that_slurm_queues_again_goes_on(cluster: None, tmp_path: Path) -> None:
    """As after preemption, or the end of a node."""
    first = tmp_path / "first"
    found: list[str] = []
    jobs = [("hang once", str(first)), ("number", "1")]
    work = threading.Thread(
        target=lambda: found.extend(_executor(tmp_path / "cache").map(do_all, jobs))
    )
    work.start()
    wait_for(lambda: first.exists() and bool(first.read_text()))
    (job,) = printed("squeue", "--noheader", "--array", "--format=%i").split()
    subprocess.run(["scontrol", "requeue", job], check=True)
    work.join(240)
    assert found == [f"hang once {first}", "number 1"]
    # The job ends soon after it has written its result.
    wait_for(lambda: not printed("squeue", "--noheader"))


def test_a_job_at_its_time_limit_is_queued_again_and_goes_on(cluster: None, tmp_path: Path) -> None:
    first, notes = tmp_path / "first", list[str]()
    # The least limit of which notice, 90 s, can be given.
    executor = dataclasses.replace(_executor(tmp_path / "cache", time_min=2), note=notes.append)
    jobs = [("hang once", str(first)), ("number", "1")]
    assert list(executor.map(do_all, jobs)) == [f"hang once {first}", "number 1"]
    # It was one job, which did not count as dead.
    assert [note for note in notes if "submitted" in note] == notes
    assert len(notes) == 1


def test_a_run_whose_job_is_killed_makes_what_an_undisturbed_one_makes(
    cluster: None, small_job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    impatient = partial(SlurmExecutor, poll_s=0.2, queue_s=1, grace_s=5)
    monkeypatch.setattr("pipelines.engines.slurm.SlurmExecutor", impatient)

    def kill() -> None:
        running = printed("squeue", "--noheader", "--array", "--format=%i", "--states=R").split()
        subprocess.run(["scancel", "--signal=KILL", running[-1]], check=True)

    settings = ["kind=slurm", "scans_per_job=2", "cpus=1", "memory_gb=2", "time_min=30"]
    demand_same_bytes_although_killed(
        small_job, tmp_path, [f"executor.{text}" for text in settings], kill
    )
