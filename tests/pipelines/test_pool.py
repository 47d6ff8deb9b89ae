"""The pool: whatever one job does, the others are done, and their order is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from multiprocessing import spawn
from pathlib import Path

import pytest

from mri_transfer.errors import MachineError, WeightsError
from pipelines import child
from pipelines.pool import default_jobs, run_jobs
from tests.pipelines.pool_jobs import do

ROOT = Path(__file__).resolve().parents[2]
Job = tuple[str, str]


def _run(jobs: Sequence[Job], *, processes: int = 2, timeout_s: int = 60) -> list[str]:
    return list(
        run_jobs(
            do,
            jobs,
            processes=processes,
            timeout_s=timeout_s,
            failed=lambda job, reason: f"FAILED {job[0]}: {reason}",
        )
    )


def _is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("processes", [1, 3])
def test_outcomes_come_in_the_order_of_the_jobs(processes: int) -> None:
    jobs = [("sleep", str(s)) for s in (0.3, 0.0, 0.15, 0.0)]
    assert _run(jobs, processes=processes) == [f"sleep {s}" for _, s in jobs]


def test_more_jobs_than_a_process_does_are_all_done() -> None:
    jobs = [("number", str(i)) for i in range(60)]
    assert _run(jobs) == [f"number {i}" for i in range(60)]


@pytest.mark.slow
def test_a_job_that_takes_too_long_is_killed_and_the_others_are_done(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    outcomes = _run([("sleep", "0.1"), ("hang", str(pid)), ("number", "3")], timeout_s=5)
    assert outcomes[0] == "sleep 0.1"
    assert outcomes[2] == "number 3"
    assert outcomes[1].startswith("FAILED hang: stopped after 5 s")
    assert "preparation.timeout_s" in outcomes[1]
    assert _is_gone(int(pid.read_text()))


@pytest.mark.slow
def test_jobs_that_wait_for_a_process_are_not_taken_for_slow_ones() -> None:
    jobs = [("sleep", "1.5") for _ in range(4)]
    assert _run(jobs, processes=1, timeout_s=5) == ["sleep 1.5"] * 4


@pytest.mark.parametrize(("kind", "value"), [("exit", "3"), ("kill", "")])
def test_a_job_whose_process_dies_twice_is_the_only_one_that_fails(kind: str, value: str) -> None:
    outcomes = _run([("number", "0"), (kind, value), ("sleep", "0.2"), ("number", "3")])
    assert [outcomes[i] for i in (0, 2, 3)] == ["number 0", "sleep 0.2", "number 3"]
    assert outcomes[1].startswith(f"FAILED {kind}: its worker process died twice (exit code ")


def test_a_job_whose_process_was_killed_once_is_done(tmp_path: Path) -> None:
    once = [("kill once", str(tmp_path / name)) for name in "ab"]
    jobs = [("number", "0"), once[0], ("number", "2"), once[1], ("number", "4")]
    assert _run(jobs) == [f"{kind} {value}" for kind, value in jobs]


def test_a_pool_that_breaks_is_replaced_unless_two_break_in_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[int] = []

    def in_a_pool(work, jobs, **_):
        opened.append(len(jobs))
        yield work(jobs[0])
        if len(jobs) > 1:
            raise BrokenExecutor("All workers expired")

    monkeypatch.setattr("pipelines.pool._in_a_pool", in_a_pool)
    assert _run([("number", str(i)) for i in range(3)]) == [f"number {i}" for i in range(3)]
    assert opened == [3, 2, 1]

    def never(*_, **__):
        opened.append(0)
        raise BrokenExecutor("All workers expired")
        yield

    opened.clear()
    monkeypatch.setattr("pipelines.pool._in_a_pool", never)
    with pytest.raises(MachineError, match="were killed"):
        _run([("number", "0")])
    assert opened == [0, 0]


def test_what_a_job_raises_is_told() -> None:
    outcomes = _run([("raise", "by zero"), ("number", "1")])
    assert "ZeroDivisionError: by zero" in outcomes[0]
    assert outcomes[1] == "number 1"


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("full", MachineError, "/cache/x: the disk is full"),
        ("memory", MachineError, "not enough memory"),
        ("weights", WeightsError, "no weights"),
    ],
)
def test_what_every_job_would_meet_stops_them_all(
    kind: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        _run([("number", "0"), (kind, "/cache/x"), ("number", "2")])


def test_processes_that_cannot_start_are_a_fault_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "_begin", os.abort)
    with pytest.raises(MachineError, match="do not start, or were killed"):
        _run([("number", str(i)) for i in range(400)])


@pytest.mark.slow
@pytest.mark.parametrize("from_stdin", [False, True])
def test_processes_do_not_run_the_script_that_starts_them(from_stdin: bool, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pipelines.pool import run_jobs\n"
        "from tests.pipelines.pool_jobs import do\n"
        "print('once', flush=True)\n"
        "jobs = [('number', '0'), ('number', '1')]\n"
        "print(*run_jobs(do, jobs, processes=2, timeout_s=600, failed=str))\n"
    )
    done = subprocess.run(
        [sys.executable, "-" if from_stdin else str(script)],
        input=script.read_text() if from_stdin else None,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "once\nnumber 0 number 1\n", done.stderr


def test_processes_that_others_start_meanwhile_still_know_the_main_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = types.ModuleType("__main__")
    script.__file__ = str(tmp_path / "script.py")
    monkeypatch.setitem(sys.modules, "__main__", script)
    with child._without_main_module():
        ours = spawn.get_preparation_data("ours")
        with ThreadPoolExecutor(1) as other:
            theirs = other.submit(spawn.get_preparation_data, "theirs").result()
    assert "init_main_from_path" not in ours
    assert theirs["init_main_from_path"] == script.__file__
    assert spawn.get_preparation_data("later")["init_main_from_path"] == script.__file__


_PARENT = """
from tests.pipelines.pool_jobs import do
from pipelines.pool import run_jobs
from pipelines.commands import cli
cli.app = lambda: list(run_jobs(do, {jobs!r}, processes=2, timeout_s=600, failed=str))
cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_it_works_for(number: int, tmp_path: Path) -> None:
    pids = [tmp_path / name for name in ("worker", "program")]
    jobs = [("hang", str(pids[0])), ("program", str(pids[1]))]
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT.format(jobs=jobs)], stderr=subprocess.PIPE
    ) as parent:
        deadline = time.monotonic() + 300
        while not all(pid.exists() and pid.read_text() for pid in pids):
            assert time.monotonic() < deadline
            assert parent.poll() is None
            time.sleep(0.05)
        parent.send_signal(number)
        _, said = parent.communicate(timeout=120)
    assert parent.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    assert b"Traceback" not in said
    assert all(_is_gone(int(pid.read_text())) for pid in pids)


def test_an_interrupt_ends_the_pool_and_its_processes(tmp_path: Path) -> None:
    pids = [tmp_path / name for name in ("a", "b")]
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while not all(pid.exists() and pid.read_text() for pid in pids):
            time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGINT)  # what Ctrl-C sends

    # A shell starts background jobs with the signal ignored; this test is about a terminal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            _run([("hang", str(pid)) for pid in pids])
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 120
    assert all(_is_gone(int(pid.read_text())) for pid in pids)


def test_whoever_stops_listening_stops_the_pool(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    outcomes = run_jobs(
        do,
        [("sleep", "0.5"), ("hang", str(pid))],
        processes=2,
        timeout_s=60,
        failed=lambda job, reason: reason,
    )
    assert next(outcomes) == "sleep 0.5"
    outcomes.close()  # type: ignore[attr-defined]
    assert not pid.exists() or _is_gone(int(pid.read_text()))


def test_no_jobs_start_nothing() -> None:
    assert _run([], processes=4) == []


@pytest.mark.parametrize(("cores", "gigabytes", "jobs"), [(8, 64, 8), (8, 5, 2), (4, 1, 1)])
def test_as_many_jobs_as_cores_and_memory_allow(
    cores: int, gigabytes: int, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": (gigabytes << 30) // 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert default_jobs() == jobs
