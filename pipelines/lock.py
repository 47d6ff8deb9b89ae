"""The lock of a run folder, which allows one command at a time."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mri_transfer.errors import RunFolderError
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["locked"]


@contextlib.contextmanager
def locked(workspace: Workspace) -> Iterator[None]:
    """Lock a run folder for the duration of the block.

    The operating system releases the lock when the process ends, however it ends. The lock file
    remains, and names the current holder. Blocks can be nested within a process. Read-only folders,
    such as archives, are not locked.

    Parameters
    ----------
    workspace : Workspace
        Its folder is created if missing.

    Raises
    ------
    RunFolderError
        Immediately, naming the holder, if another process has the lock.
    """
    from filelock import FileLock, SoftFileLock

    lock = FileLock(str(workspace.lock.resolve()), is_singleton=True)
    nested = lock.is_locked
    if not _acquired(lock, workspace):
        yield
        return
    # On file systems without locks, the file itself is the lock, and already names its holder.
    writes_holder = not nested and not isinstance(lock, SoftFileLock)
    try:
        if writes_holder:
            since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            holder = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
            workspace.lock.write_text(holder, encoding="utf-8")
        yield
    finally:
        if writes_holder:
            with contextlib.suppress(OSError):
                workspace.lock.write_text("", encoding="utf-8")
        lock.release()


def _acquired(lock: BaseFileLock, workspace: Workspace) -> bool:
    """Acquire the lock; return False if the folder is read-only, raise if another has it."""
    from filelock import Timeout

    path = workspace.lock
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunFolderError(
            "another command is using this run folder",
            where=str(workspace.root),
            found=_holder(path),
            remedy="Wait until it has finished, or use another folder",
        ) from error
    except OSError:
        if os.access(path if path.exists() else workspace.root, os.W_OK):
            raise
        return False
    return True


def _holder(path: Path) -> str:
    """Return the holder named in the lock file."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return " ".join(path.read_text(encoding="utf-8").split()) or "unknown process"
    return "unknown process"
