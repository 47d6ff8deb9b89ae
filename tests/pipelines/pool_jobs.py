"""Work for the tests of the pool, in a module that other processes can import."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mri_transfer.errors import WeightsError
from pipelines.stages.prepare_worker import Job, Outcome, prepare_one

__all__ = ["do", "do_all", "prepare_or_die"]


def do(job: tuple[str, str]) -> str:
    """Do what a job says: its kind, and what that needs."""
    kind, value = job
    if kind == "sleep":
        time.sleep(float(value))
    elif kind == "hang":
        Path(value).write_text(str(os.getpid()))
        time.sleep(600)
    elif kind == "hang once":
        # The first time only; value is a file that holds the number of who hangs.
        if not Path(value).exists():
            Path(value).write_text(str(os.getpid()))
            time.sleep(600)
    elif kind == "kill once":
        if not Path(value).exists():
            Path(value).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "exit":
        os._exit(int(value))
    elif kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "program":
        # As HD-BET would be started; it writes its own number down.
        subprocess.run(["sh", "-c", f"echo $$ > {value}; exec sleep 600"], check=False)
    elif kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), value)
    elif kind == "memory":
        raise MemoryError
    elif kind == "weights":
        raise WeightsError("no weights", where=value)
    elif kind == "raise":
        raise ZeroDivisionError(value)
    return f"{kind} {value}"


def do_all(jobs: Sequence[tuple[str, str]], cores: int | None) -> Iterator[str]:
    """Do what jobs say, in this process."""
    del cores
    return map(do, jobs)


def prepare_or_die(job: Job) -> Outcome:
    """Prepare a scan, unless a file in the cache says that it is deadly."""
    deadly = job.cache / "deadly"
    if deadly.exists() and deadly.read_text() == job.scan_id:
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare_one(job)
