"""Exclusions that a later run may take back: what state the scan's file was in when it was refused.

A stage is current only as long as those states are. So a scan whose file was missing, damaged or
forbidden is looked at again once its file has changed, and one whose work was broken off, which
says nothing of the scan, is tried again by every run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mri_transfer.errors import ScanError, UnreachableScanError, UnreadableScanError

__all__ = ["AGAIN", "refused_state", "unchanged"]

#: State of a scan that every run tries again.
AGAIN = "again"


def refused_state(error: ScanError, path: str | Path) -> str | None:
    """Return the state of a refused scan's file; None if the scan stays refused as it is.

    Parameters
    ----------
    error : ScanError
        Why it was refused.
    path : str or Path
    """
    if isinstance(error, UnreachableScanError):
        return AGAIN
    return _state(path) if isinstance(error, UnreadableScanError) else None


def unchanged(states: Mapping[str, str]) -> bool:
    """Whether files are all in the states in which their scans were refused.

    Parameters
    ----------
    states : mapping of str to str
        By path.
    """
    return all(state == _state(path) for path, state in states.items())


def _state(path: str | Path) -> str:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.strerror or "gone"
    # Permission and owner change the time of the last change of the file's entry, the content both.
    readable = "readable" if os.access(path, os.R_OK) else "forbidden"
    return f"{readable} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
