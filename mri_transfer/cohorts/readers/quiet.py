"""Other packages' logs, kept off the terminal: what they warn of, readers say in their notes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["silenced"]


@contextlib.contextmanager
def silenced(name: str) -> Iterator[None]:
    """Switch a package's log off for the time of the block.

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
