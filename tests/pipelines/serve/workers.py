"""Work that goes wrong, where a worker process can import it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pipelines.serve.worker import ScanJob, predict_upload

__all__ = ["die", "die_once", "sleep", "stumble"]


def sleep(job: object) -> None:
    """Take too long."""
    time.sleep(60)


def die(job: object) -> None:
    """End the process."""
    os._exit(9)


def stumble(job: object) -> None:
    """Fail unexpectedly."""
    raise RuntimeError("/secret/place")


def die_once(job: ScanJob) -> object:
    """End the process at the first call, and work at the second."""
    mark = Path(os.environ["DIE_ONCE"])
    if not mark.exists():
        mark.touch()
        # As if it had worked for a while.
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    return predict_upload(job)
