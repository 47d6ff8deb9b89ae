"""Silence other packages' logs: readers report the same warnings in their notes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["silenced"]


@contextlib.contextmanager
def silenced(name: str) -> Iterator[None]:
    """Disable a package's logger inside the block.

    Parameters
    ----------
    name : str
        The logger's name.
    """
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
