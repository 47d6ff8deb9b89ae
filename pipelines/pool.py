"""Process scans in parallel: in processes with a time limit for each, or in threads."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mri_transfer.core.machine import machine_faults, raise_machine_fault
from mri_transfer.errors import MriTransferError
from pipelines.child import children_died, open_pool

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["BYTES_PER_JOB", "default_jobs", "map_scans", "run_jobs", "workers_of"]

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

#: Memory reserved per scan, with a margin.
BYTES_PER_JOB = 2 << 30
#: A process is replaced after this many scans, to limit memory growth.
_JOBS_PER_PROCESS = 25
#: Interval at which the pool is checked while waiting for a job.
_POLL_S = 1.0


def default_jobs() -> int:
    """Return the number of scans to process in parallel, by cores and memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), memory // BYTES_PER_JOB))


def workers_of(jobs: int | None) -> int:
    """Return how many cores a command uses that is given `--jobs`."""
    cores = len(os.sched_getaffinity(0))
    return min(jobs or cores, cores)


def map_scans(
    work: Callable[[Job], Outcome], scans: Sequence[Job], *, jobs: int | None
) -> Iterator[Outcome]:
    """Apply a function to scans in parallel threads; yield the results in the order of the scans.

    For work that takes less time than a process to start, in code that releases the interpreter:
    decompressing, filtering and resizing.

    Parameters
    ----------
    work : callable
        Must not depend on what it did for other scans. Its result is small: all may be held.
    scans : sequence
    jobs : int, optional
        Number of threads; by default as many as cores and memory allow.
    """
    pool = ThreadPoolExecutor(jobs or default_jobs())
    try:
        yield from pool.map(work, scans)
    finally:
        # After an error or an interruption only what has begun is waited for.
        pool.shutdown(cancel_futures=True)


def run_jobs(
    work: Callable[[Job], Outcome],
    jobs: Sequence[Job],
    *,
    processes: int,
    timeout_s: int,
    failed: Callable[[Job, str], Outcome],
) -> Iterator[Outcome]:
    """Run a function on many jobs in parallel processes; yield the outcomes in order.

    A job whose process dies is done once more when all others have ended, with the machine to
    itself: what killed the process may have been another's hunger for memory, or a person.

    Parameters
    ----------
    work : callable
        A module-level function, so that other processes can import it.
    jobs : sequence
    processes : int
        Number of parallel jobs.
    timeout_s : int
        Time limit per job in seconds; jobs that take longer are killed.
    failed : callable
        Returns the outcome of a job that took too long, raised, or whose process died twice, given
        the reason.

    Raises
    ------
    MachineError
        If the machine is at fault: a full disk, too little memory, processes that do not start.
    MriTransferError
        If a job raises another package error, which concerns all jobs.
    """
    in_a_pool = partial(_in_a_pool, work, timeout_s=timeout_s, failed=failed)
    found = _each_once(partial(in_a_pool, processes=processes), jobs)
    # Outcomes are small: those behind a job that is to be done once more are held.
    held, again = list[Outcome | _Died](), list[Job]()
    for job, outcome in zip(jobs, found, strict=True):
        if isinstance(outcome, _Died):
            again.append(job)
        if again:
            held.append(outcome)
        else:
            yield outcome  # type: ignore[misc]  # _Died goes the other way
    second = _each_once(partial(in_a_pool, processes=1), again)
    retried = zip(again, second, strict=True)
    for outcome in held:
        if not isinstance(outcome, _Died):
            yield outcome
            continue
        job, last = next(retried)
        yield failed(job, _died_twice(last)) if isinstance(last, _Died) else last


def _died_twice(last: _Died) -> str:
    return (
        f"its worker process died twice (exit code {last.exit_code}), the second time with no "
        "other beside it, probably for lack of memory."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Died:
    """What became of a job whose process died."""

    exit_code: int


def _each_once(
    in_a_pool: Callable[[Sequence[Job]], Iterator[Outcome | _Died]], jobs: Sequence[Job]
) -> Iterator[Outcome | _Died]:
    """Do jobs once; see `run_jobs`.

    A process that is killed while it takes a job from the pool breaks the pool: another goes on,
    unless two in a row break before a job is done.
    """
    n_done, broken_at = 0, -1
    while n_done < len(jobs):
        try:
            for outcome in in_a_pool(jobs[n_done:]):
                n_done += 1
                yield outcome
        except BrokenExecutor as error:
            if broken_at == n_done:
                raise children_died(error) from error
            broken_at = n_done


def _in_a_pool(
    work: Callable[[Job], Outcome],
    jobs: Sequence[Job],
    *,
    processes: int,
    timeout_s: int,
    failed: Callable[[Job, str], Outcome],
) -> Iterator[Outcome | _Died]:
    with open_pool(max_workers=min(processes, len(jobs)), max_tasks=_JOBS_PER_PROCESS) as pool:
        try:
            futures = [_scheduled(pool, work, job, timeout_s) for job in jobs]
            for job, future in zip(jobs, futures, strict=True):
                _wait(pool, future)
                found: Outcome | _Died = _outcome(job, future, timeout_s, failed)
                yield found
        except BaseException:
            pool.stop()  # type: ignore[no-untyped-call]
            raise


def _scheduled(
    pool: ProcessPool, work: Callable[[Job], Outcome], job: Job, timeout_s: int
) -> Future[Outcome]:
    try:
        return pool.schedule(work, args=(job,), timeout=timeout_s)
    except RuntimeError as error:
        # pebble raises this if its processes have died.
        raise BrokenExecutor(str(error)) from error


def _wait(pool: ProcessPool, future: Future[Outcome]) -> None:
    """Wait until a job has finished; a broken pool may never finish some of its jobs."""
    while not wait([future], timeout=_POLL_S).done:
        if not pool.active:
            raise BrokenExecutor("the pool has ended")


def _outcome(
    job: Job, future: Future[Outcome], timeout_s: int, failed: Callable[[Job, str], Outcome]
) -> Outcome | _Died:
    from pebble import ProcessExpired

    try:
        return future.result()
    except TimeoutError:
        return failed(
            job,
            f"stopped after {timeout_s} s. Inspect the scan, or increase preparation.timeout_s.",
        )
    except ProcessExpired as error:
        return _Died(exit_code=error.exitcode)
    except (MriTransferError, BrokenExecutor):
        raise
    except (OSError, MemoryError):
        # Faults of a scan's own file were reported by the job itself.
        with machine_faults():
            raise
    except Exception as error:
        raise_machine_fault(error)
        return failed(job, f"unexpected error ({type(error).__name__}: {error}).")
