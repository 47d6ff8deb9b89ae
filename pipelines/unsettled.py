"""Exclusions that a later run may revise: the state of the file when its scan was excluded.

A stage is current only while these states are unchanged. A scan whose file was missing, damaged or
not readable is tried again once the file has changed; an interrupted scan is tried again by every
run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mri_transfer.errors import ScanError, UnreachableScanError, UnreadableScanError

__all__ = ["AGAIN", "refused_state", "unchanged"]

#: State of a scan to try again in every run.
AGAIN = "again"


def refused_state(error: ScanError, path: str | Path) -> str | None:
    """Return the state of an excluded scan's file; None if the exclusion is final.

    Parameters
    ----------
    error : ScanError
        Why it was excluded.
    path : str or Path
    """
    if isinstance(error, UnreachableScanError):
        return AGAIN
    return _state(path) if isinstance(error, UnreadableScanError) else None


def unchanged(states: Mapping[str, str]) -> bool:
    """Return whether all files are in the same state as when their scans were excluded.

    Parameters
    ----------
    states : mapping of str to str
        States by path.
    """
    return all(state == _state(path) for path, state in states.items())


def _state(path: str | Path) -> str:
    try:
        status = os.stat(path)
    except OSError as error:
        return error.strerror or "gone"
    # Changes of permissions or owner only change ctime, changes of content mtime and ctime.
    readable = "readable" if os.access(path, os.R_OK) else "forbidden"
    return f"{readable} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
