"""Choose the executor that the settings name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from mri_transfer.errors import ConfigurationError
from pipelines.engines.executor import Executor, LocalExecutor
from pipelines.engines.settings import ExecutorSpec

__all__ = ["executor_for"]

_PACKAGES = {"slurm": "submitit", "dask": "distributed"}


def executor_for(
    spec: ExecutorSpec,
    *,
    cache: Path,
    note: Callable[[str], None],
    jobs: int | None = None,
    gpus: bool = False,
) -> Executor:
    """Return the executor that the settings name.

    Parameters
    ----------
    spec : ExecutorSpec
    cache : Path
        Must be seen by all machines.
    note : callable
        Shows a line.
    jobs : int, optional
        Number of scans processed in parallel on this machine.
    gpus : bool
        Whether the work uses the GPUs that the settings ask for.

    Raises
    ------
    ConfigurationError
        If its package is not installed.
    """
    package = _PACKAGES.get(spec.kind)
    if package is None:
        return LocalExecutor(jobs=jobs)
    if importlib.util.find_spec(package) is None:
        raise ConfigurationError(
            "its package is not installed",
            where=f"executor.kind = {spec.kind}",
            found=f"no {package}",
            remedy="Install `mri-transfer[cluster]`",
        )
    if spec.kind == "slurm":
        from pipelines.engines.slurm import SlurmExecutor

        return SlurmExecutor(cache=cache, note=note, spec=spec, gpus=spec.gpus if gpus else 0)
    from pipelines.engines.dask import DaskExecutor

    return DaskExecutor(cache=cache, note=note, scheduler=spec.scheduler, jobs=jobs)
