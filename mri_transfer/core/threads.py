"""A thread pool in which each thread computes on one core, without lasting side effects."""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

__all__ = [
    "algebra_on_one_core",
    "at_most_threads",
    "map_ahead",
    "map_on_cores",
    "one_core_each",
    "torch_threads",
]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def torch_threads() -> int:
    """Return how many threads torch computes with."""
    import torch

    return int(torch.get_num_threads())


@contextlib.contextmanager
def at_most_threads(n_threads: int | None) -> Iterator[None]:
    """Limit the threads that torch, and all pools of this module, compute with inside the block.

    Parameters
    ----------
    n_threads : int, optional
        At least 1; nothing is limited where it is None, or no less than what torch uses.
    """
    if n_threads is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    if n_threads >= before:
        yield
        return
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def algebra_on_one_core() -> Iterator[None]:
    """Let numpy, scipy and torch compute on the calling thread only inside the block.

    For problems so small that threads cost more than they save, and round by their number. Enters
    in microseconds, unlike `threadpoolctl.threadpool_limits`, which searches the process for
    libraries each time.
    """
    with _controller().limit(limits=1):
        yield


@functools.cache
def _controller() -> ThreadpoolController:
    # Only libraries that are loaded already are found, once and for all.
    import scipy.linalg
    import torch

    del scipy, torch
    return ThreadpoolController()


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


def map_on_cores(
    work: Callable[[Item], Outcome], items: Iterable[Item], *, algebra: bool = False
) -> Iterator[Outcome]:
    """Yield the outcomes of items in their order, each computed on one core, on all of them.

    Parameters
    ----------
    work : callable
    items : iterable
    algebra : bool
        Whether numpy and scipy are kept to one core as well: in the whole process, until the last
        outcome.
    """
    n_threads = torch_threads()
    with (
        one_core_each(n_threads) as pool,
        algebra_on_one_core() if algebra else contextlib.nullcontext(),
    ):
        yield from map_ahead(pool, work, items, ahead=2 * n_threads)
