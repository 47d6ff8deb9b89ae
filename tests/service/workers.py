"""Work that goes wrong, where a worker process can import it."""

from __future__ import annotations

import os
import time

__all__ = ["die", "sleep", "stumble"]


def sleep(job: object) -> None:
    """Take too long."""
    time.sleep(60)


def die(job: object) -> None:
    """End the process."""
    os._exit(9)


def stumble(job: object) -> None:
    """Fail in a way nobody foresaw."""
    raise RuntimeError("/secret/place")
