"""What is expensive to make and only read is made by one process and shared by all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

__all__ = ["made_once"]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first process to ask for it fills; the others wait for it.

    Parameters
    ----------
    factory : pytest.TempPathFactory
    name : str
        Unique among all that is shared.
    make : callable
        Fills the empty folder. Where it fails, the next process that asks tries again.

    Returns
    -------
    Path
        Read only: tests of all processes read it at the same time, in any order.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each of pytest-xdist's processes has a folder of its own in the one of the session.
        base = base.parent
    folder, finished = base / name, base / f"{name}.finished"
    with FileLock(base / f"{name}.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
