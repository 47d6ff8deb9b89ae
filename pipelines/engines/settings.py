"""ExecutorSpec: where the work on single scans and fits is done."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT

__all__ = ["ExecutorSpec"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExecutorSpec:
    """Where scans are worked on and tails are fitted; does not affect results."""

    kind: Literal["local", "slurm", "dask"] = "local"
    """`local`: this machine; `slurm`: arrays of jobs; `dask`: the workers of a Dask scheduler."""
    scheduler: str = ""
    """Dask: address of the scheduler, such as `tcp://host:8786`; empty: one on this machine."""
    scans_per_job: int = Field(default=20, ge=1)
    """SLURM: scans per job of an array. An array has at most 1000 jobs: more scans, longer jobs."""
    partition: str = ""
    """SLURM: partition; empty: the cluster's default."""
    account: str = ""
    """SLURM: account to charge; empty: the user's default."""
    time_min: int = Field(default=240, ge=1)
    """SLURM: time limit of a job in minutes. A job that reaches it is queued again and goes on; the
    fit of a fold with a tail begins anew, and must fit into it."""
    requeues: int = Field(default=3, ge=0)
    """SLURM: how often a job that reached its time limit is queued again."""
    cpus: int = Field(default=4, ge=1)
    """SLURM: cores per job, each of which prepares a scan."""
    memory_gb: float = Field(default=8.0, gt=0)
    """SLURM: memory per job in GB; a scan takes up to 2 GB."""
    gpus: int = Field(default=0, ge=0)
    """SLURM: GPUs per job that needs a trunk. Set features.device and features.precision too."""
    parallel_jobs: int = Field(default=256, ge=1)
    """SLURM: jobs of an array that run at the same time."""
    setup: tuple[str, ...] = ()
    """SLURM: shell lines that each job begins with, such as `module load apptainer`."""
    python: str = ""
    """SLURM: command that starts Python in a job, such as `apptainer exec /shared/mri.sif python`;
    empty: the interpreter that this command runs in."""
    options: tuple[str, ...] = ()
    """SLURM: further options of sbatch, such as `qos=long` or `constraint=avx2`."""
