"""Real SLURM on this machine: its daemons, two virtual nodes, jobs submitted by sbatch."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from pipelines.engines.settings import ExecutorSpec
from pipelines.engines.slurm import SlurmExecutor
from tests.pipelines.conftest import SmallJob
from tests.pipelines.pool_jobs import do_all
from tests.pipelines.remote_runs import demand_same_bytes_although_killed

ROOT = Path(__file__).resolve().parents[2]
MISSING = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: install slurm-wlm, munge"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can start SLURM's daemons"),
]

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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """SLURM's daemons, and SLURM_CONF in the environment; yields the folder of their logs."""
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool-n0", "spool-n1"):
        (folder / name).mkdir()
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
    with pytest.MonkeyPatch.context() as patch, ExitStack() as ended:
        patch.setenv("SLURM_CONF", str(configuration))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        for command in daemons:
            log = ended.enter_context((folder / f"{command[0]}.out").open("a"))
            daemon = subprocess.Popen(command, stdout=log, stderr=log)
            ended.callback(_end, daemon)
            if command[0] == "munged":
                _wait_for((folder / "munge.socket").exists)
        _wait_for(
            lambda: _printed("sinfo", "--noheader", "--format=%t %D").split() == ["idle", "2"]
        )
        yield folder


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(30)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _free_ports(n: int) -> list[int]:
    with ExitStack() as open_until_all_are_known:
        sockets = [open_until_all_are_known.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _printed(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout


def _wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _executor(cache: Path) -> SlurmExecutor:
    spec = ExecutorSpec(
        kind="slurm", partition="long", scans_per_job=2, cpus=1, memory_gb=1, time_min=30
    )
    return SlurmExecutor(
        cache=cache, note=lambda _: None, spec=spec, poll_s=0.2, queue_s=1, grace_s=5
    )


def test_an_array_does_its_chunks_and_what_kills_its_job_twice_is_lost(
    cluster: Path, tmp_path: Path
) -> None:
    jobs = [("number", "0"), ("number", "1"), ("kill", "")]
    found = list(_executor(tmp_path).map(do_all, jobs, lost=lambda job, why: f"LOST: {why}"))
    assert found[:2] == ["number 0", "number 1"]
    assert found[2].startswith("LOST: its worker ended twice")


def test_a_job_that_slurm_queues_again_goes_on(cluster: Path, tmp_path: Path) -> None:
    """As after preemption, or the end of a node."""
    first = tmp_path / "first"
    found: list[str] = []
    jobs = [("hang once", str(first)), ("number", "1")]
    work = threading.Thread(
        target=lambda: found.extend(_executor(tmp_path / "cache").map(do_all, jobs))
    )
    work.start()
    _wait_for(lambda: first.exists() and bool(first.read_text()))
    (job,) = _printed("squeue", "--noheader", "--array", "--format=%i").split()
    subprocess.run(["scontrol", "requeue", job], check=True)
    work.join(240)
    assert found == [f"hang once {first}", "number 1"]
    # The job ends soon after it has written its result.
    _wait_for(lambda: not _printed("squeue", "--noheader"))


def test_a_run_whose_job_is_killed_makes_what_an_undisturbed_one_makes(
    cluster: Path, small_job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    impatient = partial(SlurmExecutor, poll_s=0.2, queue_s=1, grace_s=5)
    monkeypatch.setattr("pipelines.engines.slurm.SlurmExecutor", impatient)

    def kill() -> None:
        running = _printed("squeue", "--noheader", "--array", "--format=%i", "--states=R").split()
        subprocess.run(["scancel", "--signal=KILL", running[-1]], check=True)

    settings = ["kind=slurm", "scans_per_job=2", "cpus=1", "memory_gb=2", "time_min=30"]
    demand_same_bytes_although_killed(
        small_job, tmp_path, [f"executor.{text}" for text in settings], kill
    )
