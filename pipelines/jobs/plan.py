"""plan: what a cohort of any size takes: hours, memory, disk, and the size of a job array."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.models.trunks.layers import stage_table
from pipelines.config import RunConfig
from pipelines.console import duration
from pipelines.estimates import Estimate, PlannedWork, estimate_lines, estimate_stages
from pipelines.pool import BYTES_PER_JOB

__all__ = ["plan_cohort", "plan_lines"]

#: Stages that work on one scan at a time, which an array of jobs can share.
_BY_SCAN = ("check", "prepare", "slices", "features")
#: Bytes in the cache per scan beside slices and features: a prepared volume of 1 mm with its mask,
#: and maps, descriptors and pictures (measured).
_PREPARED_BYTES, _OTHER_BYTES = 5_000_000, 1_400_000
#: Bytes of a run folder per patient: report, tables, pictures of quality (measured).
_RUN_BYTES = 250_000
#: Memory of a process with its libraries, and how often features are held while heads are fitted.
_BASE_BYTES, _COPIES = 1_500_000_000, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class CohortPlan:
    """What a cohort takes.

    Attributes
    ----------
    work : PlannedWork
    estimates : tuple of Estimate
        Of every stage.
    memory_bytes : int
        At most, on one machine with all workers.
    cache_bytes, run_bytes : int
        On disk.
    task_s : float
        Seconds that a task of an array is meant to take.
    """

    work: PlannedWork
    estimates: tuple[Estimate, ...]
    memory_bytes: int
    cache_bytes: int
    run_bytes: int
    task_s: float

    @property
    def scan_core_s(self) -> float:
        """Seconds that one core needs for everything that is done scan by scan."""
        return sum(
            one.core_s for one in self.estimates if one.stage in _BY_SCAN and one.core_s is not None
        )

    @property
    def array_size(self) -> int:
        """Tasks of one core each that share the scans."""
        return max(1, min(self.work.n_scans, math.ceil(self.scan_core_s / self.task_s)))

    @property
    def scans_per_task(self) -> int:
        """Scans of a task."""
        return math.ceil(self.work.n_scans / self.array_size)


def plan_cohort(
    manifest: Path, config: RunConfig, *, cache: Path, workers: int, task_s: float
) -> CohortPlan:
    """Plan a run on a cohort; its scans are not read.

    Parameters
    ----------
    manifest : Path
    config : RunConfig
    cache : Path
        Where rates of earlier runs were kept.
    workers : int
        Cores of the machine that is planned for.
    task_s : float
        Seconds that a task of an array is meant to take.

    Raises
    ------
    ManifestError
        If the manifest has faults.
    """
    scans = read_manifest(manifest, check_files=False).scans
    work = PlannedWork(
        config=config,
        n_scans=len(scans),
        n_patients=int(scans["patient_id"].nunique()),
        cache=cache,
        workers=workers,
    )
    slices, features = _bytes_per_scan(config)
    prepared = 0 if config.preparation.scans == "none" else _PREPARED_BYTES
    fitting = _BASE_BYTES + _copies(config, features * work.n_scans) * features * work.n_scans
    return CohortPlan(
        work=work,
        estimates=tuple(estimate_stages(work)),
        memory_bytes=max(fitting, _BASE_BYTES + BYTES_PER_JOB * workers),
        cache_bytes=work.n_scans * (prepared + slices + features + _OTHER_BYTES),
        run_bytes=work.n_patients * _RUN_BYTES,
        task_s=task_s,
    )


def _copies(config: RunConfig, n_bytes: int) -> int:
    """Return how often features are held at a time while heads are fitted."""
    from mri_transfer.training.estimator import configured_estimator
    from mri_transfer.training.zone_means import zones_enough

    if config.tuning.trains or config.instances.manifest:
        return _COPIES
    request = configured_estimator(config).request()
    zones = zones_enough(request, n_bytes // 4, n_slices=config.slices.n_slices)
    return _COPIES if zones is None else 1


def plan_lines(plan: CohortPlan) -> Iterator[str]:
    """Yield the plan as text."""
    work = plan.work
    yield f"{work.n_scans} scans of {work.n_patients} patients"
    yield ""
    yield f"On one machine with {work.workers} {'core' if work.workers == 1 else 'cores'}:"
    yield from estimate_lines(plan.estimates)
    yield f"memory: at most about {_size(plan.memory_bytes)}"
    yield f"disk: about {_size(plan.cache_bytes)} of cache, {_size(plan.run_bytes)} of run folder"
    yield ""
    per_task = duration(plan.scan_core_s / plan.array_size)
    yield (
        f"As an array of jobs with one core each, up to the features: {plan.array_size} tasks of "
        f"{plan.scans_per_task} scans, about {per_task} each; the rest runs on one machine"
    )
    yield f"memory: about {_size(_BASE_BYTES + BYTES_PER_JOB)} a task"


def _bytes_per_scan(config: RunConfig) -> tuple[int, int]:
    """Return the bytes of a scan's slices, and of its features in all poolings."""
    slices, px = config.slices.n_slices, config.slices.size_px
    last = stage_table(config.trunk, px)[-1]
    cells = last.rows * last.columns
    numbers = sum(
        last.channels * (cells if pooling == "flatten" else 1) for pooling in config.poolings
    )
    return slices * px**2, 4 * slices * numbers


def _size(n_bytes: float) -> str:
    """Return bytes in words."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / 1e3:.0f} kB"
