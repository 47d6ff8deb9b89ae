"""Scans side by side: one process works on one scan, and is killed when that takes too long."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["default_jobs", "run_jobs"]

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

#: Memory that one scan may need, with room to spare.
_BYTES_A_JOB = 2 << 30
#: A process is replaced after this many scans, so that nothing piles up in it.
_JOBS_A_PROCESS = 25
_PRELOADED = ["pipelines.prepare_worker", "mri_transfer.preparation.preload"]


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
    """
    if not jobs:
        return
    from pebble import ProcessPool

    # A server process that has imported everything forks the workers: quick, and without the
    # threads of this process, which a plain fork would copy in an unknown state.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with ProcessPool(
        max_workers=min(processes, len(jobs)), max_tasks=_JOBS_A_PROCESS, context=context
    ) as pool:
        futures = [pool.schedule(work, args=(job,), timeout=timeout_s) for job in jobs]
        try:
            for job, future in zip(jobs, futures, strict=True):
                yield _outcome(job, future, timeout_s, failed)
        except BaseException:
            pool.stop()  # type: ignore[no-untyped-call]
            raise


def _outcome(
    job: Job, future: object, timeout_s: int, failed: Callable[[Job, str], Outcome]
) -> Outcome:
    from concurrent.futures import TimeoutError as FutureTimeoutError

    from pebble import ProcessExpired

    try:
        return future.result()  # type: ignore[attr-defined, no-any-return]
    except FutureTimeoutError:
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
    except Exception as error:
        return failed(job, f"it failed in a way nobody foresaw ({type(error).__name__}: {error}).")
