"""The lock of a run folder: one command at a time works in it."""

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
    """Keep other commands out of a run folder while the block runs.

    The operating system holds the lock and drops it with the process, however that ends. The file
    stays, and says who holds it while somebody does. A process may nest these blocks. Where nobody
    may write, such as in an archive, there is nothing to lock.

    Parameters
    ----------
    workspace : Workspace
        The folder is made if missing.

    Raises
    ------
    RunFolderError
        At once, naming the holder, if another process works in the folder.
    """
    from filelock import FileLock, SoftFileLock

    lock = FileLock(str(workspace.lock.resolve()), is_singleton=True)
    nested = lock.is_locked
    if not _acquired(lock, workspace):
        yield
        return
    # Where the file system has no locks, the file itself is one, and says who holds it already.
    signs = not nested and not isinstance(lock, SoftFileLock)
    try:
        if signs:
            since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            who = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
            workspace.lock.write_text(who, encoding="utf-8")
        yield
    finally:
        if signs:
            with contextlib.suppress(OSError):
                workspace.lock.write_text("", encoding="utf-8")
        lock.release()


def _acquired(lock: BaseFileLock, workspace: Workspace) -> bool:
    """Take the lock; return False where nobody may write, raise if another process has it."""
    from filelock import Timeout

    path = workspace.lock
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunFolderError(
            "another command works in this run folder",
            where=str(workspace.root),
            found=_holder(path),
            remedy="Wait until it has ended, or name another folder",
        ) from error
    except OSError:
        if os.access(path if path.exists() else workspace.root, os.W_OK):
            raise
        return False
    return True


def _holder(path: Path) -> str:
    """Return what the lock file says of its holder."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return " ".join(path.read_text(encoding="utf-8").split()) or "no name"
    return "no name"
