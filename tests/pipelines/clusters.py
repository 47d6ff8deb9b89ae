"""Small clusters on this machine: SLURM's daemons with two virtual nodes; a Dask scheduler."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

__all__ = ["MISSING", "dask_cluster", "printed", "slurm_cluster", "wait_for"]

ROOT = Path(__file__).resolve().parents[2]
#: Programs that the SLURM cluster needs and this machine has not.
MISSING = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
N_WORKERS = 2

CONFIGURATION = """\
ClusterName=phantom
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
# Virtual nodes take seconds to answer when this machine is busy.
SlurmdTimeout=600
MessageTimeout=60
KillWait=5
NodeName=n0 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=100000
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=100000
PartitionName=long Nodes=n0,n1 Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def slurm_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start SLURM's daemons; yield the environment in which its commands find them.

    Parameters
    ----------
    folder : Path
        For their logs and state.
    """
    for name in ("state", "spool-n0", "spool-n1"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o400)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(host=socket.gethostname(), folder=folder, ports=_free_ports(3))
    )
    munge = {"socket": "munge.socket", "key-file": "munge.key", "log-file": "munge.log"}
    munge |= {"pid-file": "munge.pid", "seed-file": "munge.seed"}
    daemons = [
        ["munged", "--foreground", "--force", *(f"--{n}={folder / f}" for n, f in munge.items())],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-N", "n0", "-f", str(configuration)],
        ["slurmd", "-D", "-N", "n1", "-f", str(configuration)],
    ]
    found = {
        "SLURM_CONF": str(configuration),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    environment = {**os.environ, **found}
    with ExitStack() as ended:
        for command in daemons:
            log = ended.enter_context((folder / f"{command[0]}.out").open("a"))
            daemon = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            ended.callback(_end, daemon)
            if command[0] == "munged":
                wait_for((folder / "munge.socket").exists)
        sinfo = ["sinfo", "--noheader", "--format=%t %D"]
        wait_for(lambda: printed(*sinfo, environment=environment).split() == ["idle", "2"])
        yield found


@contextlib.contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """Start a scheduler with two workers; yield its address."""
    from distributed import Client

    file = folder / "scheduler.json"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    }
    here = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    commands = [
        ["scheduler", "--port", "0", *here],
        ["worker", "--nworkers", str(N_WORKERS), "--nthreads", "1", *here],
    ]
    with ExitStack() as ended:
        for command in commands:
            log = ended.enter_context((folder / f"{command[0]}.log").open("w"))
            # Another folder: paths must not depend on it.
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command], cwd=folder, env=environment, stderr=log
            )
            ended.callback(_end, process)
            wait_for(file.exists)
        with Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(N_WORKERS, timeout=120)
            address = client.scheduler.address
        yield address


def printed(*command: str, environment: dict[str, str] | None = None) -> str:
    """Return what a program prints, whatever its exit status."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(n: int) -> list[int]:
    with ExitStack() as open_until_all_are_known:
        sockets = [open_until_all_are_known.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
