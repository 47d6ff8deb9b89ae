"""A thread pool in which each thread computes on one core, without lasting side effects."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_ahead", "map_on_cores", "one_core_each", "torch_threads"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def torch_threads() -> int:
    """Return how many threads torch computes with."""
    import torch

    return int(torch.get_num_threads())


@contextlib.contextmanager
def one_core_each(n_threads: int, *, flush_denormals: bool = False) -> Iterator[ThreadPoolExecutor]:
    """Yield a thread pool whose torch operations run on the calling thread only.

    Threads that share one operation wait for each other at its end, which is slow when operations
    are short or the machine is busy.

    Parameters
    ----------
    n_threads : int
        At least 1; usually `torch.get_num_threads()`.
    flush_denormals : bool
        Let the threads flush denormal numbers to 0, as processors handle them several times
        slower.

    Yields
    ------
    ThreadPoolExecutor
        Shut down at the end of the block, after running work has finished.
    """
    import torch

    before = torch.get_num_threads()

    def set_up() -> None:
        torch.set_num_threads(1)
        if flush_denormals:
            torch.set_flush_denormal(True)

    try:
        with ThreadPoolExecutor(n_threads, initializer=set_up) as pool:
            yield pool
    finally:
        # The setting is per thread, but new threads inherit the most recent one from any thread:
        # without this line all later threads would compute on one core.
        torch.set_num_threads(before)


def map_ahead(
    pool: Executor, work: Callable[[Item], Outcome], items: Iterable[Item], *, ahead: int
) -> Iterator[Outcome]:
    """Yield the outcomes of items in their order, a few being worked on meanwhile.

    `Executor.map` begins with all items at once, so that outcomes pile up in memory where they are
    used more slowly than they are made.

    Parameters
    ----------
    pool : Executor
    work : callable
    items : iterable
    ahead : int
        Items begun and not yet yielded, at least 1.
    """
    pending: collections.deque[Future[Outcome]] = collections.deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def map_on_cores(work: Callable[[Item], Outcome], items: Iterable[Item]) -> Iterator[Outcome]:
    """Yield the outcomes of items in their order, each computed on one core, on all of them."""
    n_threads = torch_threads()
    with one_core_each(n_threads) as pool:
        yield from map_ahead(pool, work, items, ahead=2 * n_threads)
