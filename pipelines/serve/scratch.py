"""The folder of uploads: removed when the service ends, and by the next one if it was killed."""

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
    """Give an empty folder that only this user can read, and remove it in the end.

    Those of services that were killed are removed first: a living one holds a lock in its own.

    Parameters
    ----------
    parent : Path, optional
        Where it is made; by default the system's folder of temporary files.
    """
    remove_abandoned(Path(tempfile.gettempdir()) if parent is None else parent)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as folder,
        (Path(folder) / _LOCK).open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(folder)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of services that were killed, from where they are made."""
    for folder in parent.glob(f"{_PREFIX}*"):
        # Others may have made what is called like ours, or have removed it meanwhile.
        with contextlib.suppress(OSError):
            status = os.lstat(folder)
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                with (folder / _LOCK).open("r+") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
