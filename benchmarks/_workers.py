"""The processes that do the work of a run, under each engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import psutil

__all__ = ["dask_workers", "local_workers", "slurm_workers"]


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _is_pool(process: psutil.Process) -> bool:
    """Whether it is a process that scans are prepared in: forked from the fork server."""
    parent = process.parent()
    return _is_forked(process) and parent is not None and _is_forked(parent)


def _is_forked(process: psutil.Process) -> bool:
    return any("multiprocessing.forkserver" in word for word in process.cmdline())


def _alive(
    processes: list[psutil.Process], wanted: Callable[[psutil.Process], bool]
) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and wanted(process):
                found.append(process)
    return sorted(found, key=lambda process: process.pid)


def local_workers(command: psutil.Process) -> list[psutil.Process]:
    """Return the processes that scans are prepared in."""
    return _alive(_below(command), _is_pool)


def slurm_workers(settings: str, _: psutil.Process) -> list[psutil.Process]:
    """Python of the jobs, and the processes that scans are prepared in; nodes are no children."""

    def wanted(process: psutil.Process) -> bool:
        own = process.environ()
        if own.get("SLURM_CONF") != settings or "SLURM_JOB_ID" not in own:
            return False
        words = process.cmdline()
        is_job = "submitit.core._submit" in words and "python" in Path(words[0]).name
        return is_job or _is_pool(process)

    return _alive(list(psutil.process_iter()), wanted)


def dask_workers(_: psutil.Process) -> list[psutil.Process]:
    """Workers (children of their nannies), and the processes that scans are prepared in."""

    def wanted(process: psutil.Process) -> bool:
        parent = process.parent()
        is_worker = "--multiprocessing-fork" in process.cmdline() or any(
            "spawn_main" in word for word in process.cmdline()
        )
        return is_worker and parent is not None and "worker" in parent.cmdline()

    all_of_us = _below(psutil.Process())
    return _alive(all_of_us, lambda process: wanted(process) or _is_pool(process))
