"""SLURM's commands as submitit uses them: every job starts at once, on this machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["QUEUE"])


def _start(script: Path, job: str) -> None:
    main, _, index = job.partition("_")
    ids = {"SLURM_JOB_ID": f"{main}{index}", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    if index:
        ids |= {"SLURM_ARRAY_JOB_ID": main, "SLURM_ARRAY_TASK_ID": index}
    process = subprocess.Popen(
        ["bash", str(script)],
        env={**os.environ, **ids},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (STATE / f"{job}.pid").write_text(str(process.pid))


def sbatch(script: str) -> None:
    """Start a job, or all jobs of an array."""
    number = str(100 + len(list(STATE.glob("*.sh"))))
    kept = STATE / f"{number}.sh"
    shutil.copy(script, kept)
    array = re.search(r"--array=0-(\d+)", kept.read_text())
    jobs = [f"{number}_{i}" for i in range(int(array[1]) + 1)] if array else [number]
    for job in jobs:
        _start(kept, job)
    sys.stdout.write(f"Submitted batch job {number}\n")


def srun(*words: str) -> None:
    """Become the command, with its output where the options say."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID")
    name = f"{job}_{os.environ['SLURM_ARRAY_TASK_ID']}" if job else os.environ["SLURM_JOB_ID"]
    options = dict(zip(words[1:5:2], words[2:5:2], strict=True))
    for number, option in ((1, "--output"), (2, "--error")):
        path = options[option].replace("%A_%a", name).replace("%j", name).replace("%t", "0")
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.execvp(words[5], words[5:])


def squeue(*_: str) -> None:
    """List the jobs that run."""
    for path in STATE.glob("*.pid"):
        state = Path(f"/proc/{path.read_text()}/stat")
        if state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
            sys.stdout.write(f"{path.stem}\n")


def scancel(job: str) -> None:
    """End a job."""
    os.killpg(int((STATE / f"{job}.pid").read_text()), signal.SIGKILL)


def scontrol(verb: str, job: str) -> None:
    """Queue a job again."""
    assert verb == "requeue"
    with (STATE / "requeued").open("a") as file:
        file.write(f"{job}\n")
    _start(STATE / f"{job.partition('_')[0]}.sh", job)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
