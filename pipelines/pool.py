"""Scans side by side: one process works on one scan, and is killed when that takes too long."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, wait
from typing import TYPE_CHECKING, TypeVar

from mri_transfer.core.machine import machine_faults, raise_machine_fault
from mri_transfer.errors import MriTransferError
from pipelines.child import children_died, open_pool

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["default_jobs", "run_jobs"]

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

#: Memory that one scan may need, with room to spare.
_BYTES_A_JOB = 2 << 30
#: A process is replaced after this many scans, so that nothing piles up in it.
_JOBS_A_PROCESS = 25
#: How often somebody who waits for a job looks whether the pool still works on it.
_LOOK_S = 1.0


def default_jobs() -> int:
    """Return how many scans can be worked on at a time: by cores, and by memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), memory // _BYTES_A_JOB))


def run_jobs(
    work: Callable[[Job], Outcome],
    jobs: Sequence[Job],
    *,
    processes: int,
    timeout_s: int,
    failed: Callable[[Job, str], Outcome],
) -> Iterator[Outcome]:
    """Run a function on many jobs in processes; yield the outcomes in the jobs' order.

    Parameters
    ----------
    work : callable
        A function of a module, so that other processes can import it.
    jobs : sequence
    processes : int
        Jobs at a time.
    timeout_s : int
        A job that takes longer is killed.
    failed : callable
        Makes the outcome of a job that was killed, crashed or raised, from the reason in words.

    Raises
    ------
    MachineError
        If the machine refuses the work: a full disk, too little memory, processes that do not
        start. No job is at fault.
    MriTransferError
        If a job raises another one: it concerns all jobs.
    """
    if not jobs:
        return
    try:
        with open_pool(max_workers=min(processes, len(jobs)), max_tasks=_JOBS_A_PROCESS) as pool:
            try:
                futures = [_scheduled(pool, work, job, timeout_s) for job in jobs]
                for job, future in zip(jobs, futures, strict=True):
                    _wait(pool, future)
                    yield _outcome(job, future, timeout_s, failed)
            except BaseException:
                pool.stop()  # type: ignore[no-untyped-call]
                raise
    except BrokenExecutor as error:
        raise children_died(error) from error


def _scheduled(
    pool: ProcessPool, work: Callable[[Job], Outcome], job: Job, timeout_s: int
) -> Future[Outcome]:
    try:
        return pool.schedule(work, args=(job,), timeout=timeout_s)
    except RuntimeError as error:
        # How pebble says that its processes have died meanwhile.
        raise BrokenExecutor(str(error)) from error


def _wait(pool: ProcessPool, future: Future[Outcome]) -> None:
    """Wait until a job is done with; a pool that broke forgets some of its jobs."""
    while not wait([future], timeout=_LOOK_S).done:
        if not pool.active:
            raise BrokenExecutor("the pool has ended")


def _outcome(
    job: Job, future: Future[Outcome], timeout_s: int, failed: Callable[[Job, str], Outcome]
) -> Outcome:
    from pebble import ProcessExpired

    try:
        return future.result()
    except TimeoutError:
        return failed(
            job,
            f"it took longer than {timeout_s} s and was stopped. Look at the scan, or raise "
            "preparation.timeout_s.",
        )
    except ProcessExpired as error:
        return failed(
            job,
            f"the process that worked on it died (exit code {error.exitcode}), most likely for "
            "want of memory. Try again with fewer --jobs.",
        )
    except (MriTransferError, BrokenExecutor):
        raise
    except (OSError, MemoryError):
        # What is wrong with a scan's own file was told by the job itself.
        with machine_faults():
            raise
    except Exception as error:
        raise_machine_fault(error)
        return failed(job, f"it failed in a way nobody foresaw ({type(error).__name__}: {error}).")
