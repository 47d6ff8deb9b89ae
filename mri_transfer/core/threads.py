"""A pool in which every thread computes on one core, and which leaves no trace behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

__all__ = ["one_core_each", "torch_threads"]


def torch_threads() -> int:
    """Return how many threads torch computes with."""
    import torch

    return int(torch.get_num_threads())


@contextlib.contextmanager
def one_core_each(n_threads: int, *, flush_denormals: bool = False) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads whose torch operations run on the calling thread alone.

    Threads that share one operation wait for each other at its end, which costs dearly as soon as
    operations are short or anything else runs on the machine.

    Parameters
    ----------
    n_threads : int
        At least 1; usually `torch.get_num_threads()`.
    flush_denormals : bool
        Let the threads take numbers too small for full precision for 0. A processor computes
        with them several times slower.

    Yields
    ------
    ThreadPoolExecutor
        Shut down when the block ends; work that has begun is finished first.
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
        # The setting is a thread's own, but a new thread takes over the one that was made last,
        # in whichever thread: without this line all later ones would compute on one core.
        torch.set_num_threads(before)
