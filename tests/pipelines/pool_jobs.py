"""Work for the tests of the pool, in a module that other processes can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

__all__ = ["do"]


def do(job: tuple[str, str]) -> str:
    """Do what a job says: its kind, and what that needs."""
    kind, value = job
    if kind == "sleep":
        time.sleep(float(value))
    elif kind == "hang":
        Path(value).write_text(str(os.getpid()))
        time.sleep(600)
    elif kind == "exit":
        os._exit(int(value))
    elif kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "raise":
        raise ZeroDivisionError(value)
    return f"{kind} {value}"
