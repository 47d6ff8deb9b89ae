"""The upload folder: removed when the service ends, or by the next one if it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["remove_abandoned", "upload_folder"]

_PREFIX = "mri-transfer-serve-"
_LOCK = "lock"


@contextlib.contextmanager
def upload_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder that only this user can read, and remove it afterwards.

    Folders of killed services are removed first; running services hold a lock in theirs.

    Parameters
    ----------
    parent : Path, optional
        By default the system's temporary folder.
    """
    remove_abandoned(Path(tempfile.gettempdir()) if parent is None else parent)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as folder,
        (Path(folder) / _LOCK).open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(folder)


def remove_abandoned(parent: Path) -> None:
    """Remove the upload folders of killed services."""
    for folder in parent.glob(f"{_PREFIX}*"):
        # The folder may belong to another user, or be removed concurrently.
        with contextlib.suppress(OSError):
            status = os.lstat(folder)
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                with (folder / _LOCK).open("r+") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
