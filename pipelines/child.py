"""Worker processes that never outlive their parent, however it ends."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import spawn
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.popen_forkserver import Popen
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

from mri_transfer.errors import MachineError

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["children_died", "open_pool"]

#: Interval at which a process checks that the server that forked it is alive.
_LOOK_S = 1.0
_LEAVING = threading.Lock()
_LAUNCHING = threading.Lock()


def open_pool(
    *, max_workers: int, max_tasks: int, at_end: Callable[[], object] | None = None
) -> ProcessPool:
    """Return a pool of processes that end with this one.

    They are forked from a server process with all imports done: fast, and without this process's
    threads, which a plain fork would copy in an unknown state. They don't import the main module,
    so that a script needs no ``if __name__ == "__main__":`` around what it calls.

    Parameters
    ----------
    max_workers : int
    max_tasks : int
        Number of tasks after which a process is replaced.
    at_end : callable, optional
        Called by a process if its parent seems to have died; a module-level function.
    """
    from pebble import ProcessPool

    context = _ForkServerContext()
    context.set_forkserver_preload(["pipelines.preload"])
    return ProcessPool(
        max_workers=max_workers,
        max_tasks=max_tasks,
        initializer=_begin,
        initargs=(at_end,),
        context=context,
    )


def children_died(error: BaseException) -> MachineError:
    """Return the error for a pool whose processes do not start or were killed."""
    return MachineError(
        "the worker processes do not start, or were killed",
        found=str(error.__cause__ or error) or None,
        remedy="Probably there is not enough memory: use fewer --jobs, close other programs, or "
        "raise the memory limit (see ulimit -v). Then run the same command again: finished work is "
        "kept",
    )


class _Popen(Popen):
    """A process that is not told of the main module."""

    def _launch(self, process_obj: object) -> None:
        # Pools start processes in threads, beside the user's own; one change at a time.
        with _LAUNCHING, _without_main_module():
            super()._launch(process_obj)  # type: ignore[misc]


class _ForkServerProcess(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Popen:  # noqa: N802
        return _Popen(process_obj)


class _ForkServerContext(ForkServerContext):
    Process = _ForkServerProcess


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Leave the main module out of what processes started in this thread are told to import.

    multiprocessing runs the main script again in each process, to find functions defined in it. A
    script that calls the package at its top level would call it again in every process, and the
    functions of this package are found without it. There is no setting for this.
    """
    thread, usual = threading.get_ident(), spawn.get_preparation_data

    def preparation_data(name: str) -> dict[str, Any]:
        data = usual(name)
        if threading.get_ident() == thread:
            for key in ("init_main_from_name", "init_main_from_path"):
                data.pop(key, None)
        return data

    spawn.get_preparation_data = preparation_data
    try:
        yield
    finally:
        spawn.get_preparation_data = usual


def _begin(at_end: Callable[[], object] | None) -> None:
    """Initialise a process of a pool."""
    # Its own process group: programs started from here, such as HD-BET, end with it.
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, _end)
    # An idle process exits when its parent is gone; a busy one is killed.
    Finalize(None, _leave, args=(at_end,), exitpriority=0)
    follow = threading.Thread(target=_follow, args=(os.getppid(), at_end), daemon=True)
    follow.start()
    try:
        for name in importlib.import_module("pipelines.preload").MODULES:
            importlib.import_module(name)
    except Exception:
        # The parent detects and reports the dead process.
        _end()


def _follow(server: int, at_end: Callable[[], object] | None) -> None:
    """End this process when its parent, or the server that forked it, is gone.

    A killed process cannot stop its workers, but the system closes its end of a pipe. Without the
    server nobody is notified when this process ends, and it is considered dead.
    """
    while not _is_alone(_LOOK_S) and os.getppid() == server:
        pass
    try:
        _leave(at_end)
    finally:
        _end()


def _is_alone(timeout_s: float) -> bool:
    """Return whether the parent process is gone, or seems to be for a while."""
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    return parent is not None and bool(wait([parent.sentinel], timeout=timeout_s))


def _leave(at_end: Callable[[], object] | None) -> None:
    # Two threads may get here: neither must interrupt the other.
    with _LEAVING:
        if at_end is not None and _is_alone(0):
            # The pipe may be closed shortly before the rest of a dying process.
            time.sleep(_LOOK_S)
            at_end()


def _end(*_: object) -> None:
    os.killpg(0, signal.SIGKILL)
