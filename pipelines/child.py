"""Processes that work for this one: none outlives it, however it ends."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from mri_transfer.errors import MachineError

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["children_died", "open_pool"]

#: How often a process looks whether the server that forked it is still there.
_LOOK_S = 1.0
_LEAVING = threading.Lock()


def open_pool(
    *, max_workers: int, max_tasks: int, at_end: Callable[[], object] | None = None
) -> ProcessPool:
    """Return a pool of processes that end when this one does.

    A server process that has imported everything forks them: quick, and without the threads of
    this process, which a plain fork would copy in an unknown state.

    Parameters
    ----------
    max_workers : int
    max_tasks : int
        A process is replaced after so many.
    at_end : callable, optional
        What a process does when this one seems to have gone before it; a function of a module.
    """
    from pebble import ProcessPool

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.preload"])
    return ProcessPool(
        max_workers=max_workers,
        max_tasks=max_tasks,
        initializer=_begin,
        initargs=(at_end,),
        context=context,
    )


def children_died(error: BaseException) -> MachineError:
    """Return what is told when a pool's processes cannot be started or kept running."""
    return MachineError(
        "the processes that work on scans do not start, or were killed",
        found=str(error.__cause__ or error) or None,
        remedy="Most likely there is too little memory: use fewer --jobs, close other programs, or "
        "raise the limit if one is set (see ulimit -v). Then run the same command again: what is "
        "done is kept",
    )


def _begin(at_end: Callable[[], object] | None) -> None:
    """Begin a process of a pool."""
    # A group of its own: programs started from here, such as HD-BET, end with it.
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, _end)
    # An idle process ends by itself when the one that asked for it is gone; a busy one is ended.
    Finalize(None, _leave, args=(at_end,), exitpriority=0)
    follow = threading.Thread(target=_follow, args=(os.getppid(), at_end), daemon=True)
    follow.start()
    try:
        for name in importlib.import_module("pipelines.preload").MODULES:
            importlib.import_module(name)
    except Exception:
        # Whoever has asked for this process finds it dead, and tells that.
        _end()


def _follow(server: int, at_end: Callable[[], object] | None) -> None:
    """End this process when the one that asked for it, or the server that forked it, is gone.

    A process that is killed cannot stop those that work for it, but the system then closes its end
    of a pipe. Without the server nobody learns how this process ends, and it is taken for dead.
    """
    while not _is_alone(_LOOK_S) and os.getppid() == server:
        pass
    try:
        _leave(at_end)
    finally:
        _end()


def _is_alone(timeout_s: float) -> bool:
    """Whether the process that asked for this one is gone, or seems to be for a while."""
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    return parent is not None and bool(wait([parent.sentinel], timeout=timeout_s))


def _leave(at_end: Callable[[], object] | None) -> None:
    # One thread leaves by itself and another is told to: neither ends the other's work half way.
    with _LEAVING:
        if at_end is not None and _is_alone(0):
            # The pipe may be closed a moment before all else of a process that dies.
            time.sleep(_LOOK_S)
            at_end()


def _end(*_: object) -> None:
    os.killpg(0, signal.SIGKILL)
