"""How long the stages of a run will take, and what memory and disk they need.

A stage that has run on this machine with the same settings is estimated from that. Else figures of
a reference machine stand in, and are called so: a run of 140 scans (32 slices of 224 px each, VGG16
in fp32, linear heads) on two cores limited to AVX2. Work is taken to grow with the number of scans
or patients, and to divide among workers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from mri_transfer.models.trunks import TrunkSpec
from pipelines.config import RunConfig
from pipelines.console import duration
from pipelines.plan.order import STAGES
from pipelines.rates import known_rate
from pipelines.stage import Stage

__all__ = ["Estimate", "PlannedWork", "estimate_lines", "estimate_stages"]

_REFERENCE_SOURCE = "reference machine"
_REFERENCE_MACHINE = "two cores, AVX2, fp32; a GPU or cores with bf16 are many times as fast"
#: Stages whose work is counted in scans; that of the others in patients.
_BY_SCAN = frozenset({"check", "prepare", "slices", "features"})
#: Processor seconds per scan or patient on the reference machine, without passes of the trunk.
_REFERENCE = {
    "check": 0.04,
    "prepare": 8.7,
    "slices": 0.07,
    "folds": 0.0,
    "train": 0.25,
    "evaluate": 0.45,
    "audit": 0.85,
    "report": 0.12,
}
#: Of scans that are ready as they came, where preparation is told so.
_READY = 1.5
#: The same for the profile `quick`, where it differs.
_REFERENCE_QUICK = {"train": 0.05, "evaluate": 0.1, "audit": 0.25}
#: Features, and maps of explanations, as multiples of one pass of the trunk over a scan.
_PASSES = {"features": 1.0, "evaluate": 1.0, "explain": 0.95}
#: What one pass of the reference took, and how many operations it has.
_PASS_CORE_S = 3.4
_PASS_SPEC, _PASS_SLICES, _PASS_PX = TrunkSpec(), 32, 224
#: Heads whose training the reference says something of.
_KNOWN_HEADS = ("linear",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedWork:
    """What is to be done.

    Attributes
    ----------
    config : RunConfig
    n_scans, n_patients : int
    cache : Path
        Where rates were kept.
    workers : int
        Cores in use.
    """

    config: RunConfig
    n_scans: int
    n_patients: int
    cache: Path
    workers: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """How long a stage takes, caches being empty.

    Attributes
    ----------
    stage : str
    core_s : float or None
        Seconds times workers; None where nothing is known.
    seconds : float or None
        With the workers planned.
    source : str
        Where the figure comes from.
    """

    stage: str
    core_s: float | None
    seconds: float | None
    source: str


def estimate_stages(work: PlannedWork, stages: Sequence[Stage] = STAGES) -> list[Estimate]:
    """Estimate each stage.

    Parameters
    ----------
    work : PlannedWork
    stages : sequence of Stage
    """
    return [_estimate(work, stage) for stage in stages]


def _estimate(work: PlannedWork, stage: Stage) -> Estimate:
    units = work.n_scans if stage.name in _BY_SCAN else work.n_patients
    rate = known_rate(work.cache, stage, work.config)
    if rate is not None:
        core_s: float | None = rate.core_s * units
        source = f"measured on {rate.host} with {rate.n}"
    else:
        core_s, source = _reference(work, stage.name, units), _REFERENCE_SOURCE
    if core_s is None:
        return Estimate(stage=stage.name, core_s=None, seconds=None, source="not yet measured here")
    return Estimate(stage=stage.name, core_s=core_s, seconds=core_s / work.workers, source=source)


def _reference(work: PlannedWork, stage: str, units: int) -> float | None:
    """Return what the reference machine would take; None where it has not done the like."""
    config = work.config
    is_unknown_head = config.heads.kind not in _KNOWN_HEADS or config.tuning.trains
    if stage in ("train", "audit") and is_unknown_head:
        return None
    if config.profile == "full" and stage == "audit":
        return None
    per_unit = _REFERENCE.get(stage, 0.0)
    if stage == "prepare" and config.preparation.scans == "none":
        per_unit = _READY
    if config.profile == "quick":
        per_unit = _REFERENCE_QUICK.get(stage, per_unit)
    passes = _PASSES.get(stage, 0.0)
    if stage == "evaluate" and not config.evaluation.random_trunk:
        passes = 0.0
    if stage == "explain" and not config.explanation.maps:
        passes = 0.0
    if passes:
        per_unit += passes * _pass_core_s(config)
    return per_unit * units


def _pass_core_s(config: RunConfig) -> float:
    """Return what a pass of the trunk over a scan takes, by its number of operations."""
    from mri_transfer.models.tails.cost import stage_gflop

    slices = config.slices
    if (config.trunk.name, config.trunk.layer, slices.size_px) == (
        _PASS_SPEC.name,
        _PASS_SPEC.layer,
        _PASS_PX,
    ):
        return _PASS_CORE_S * slices.n_slices / _PASS_SLICES
    ours = sum(stage_gflop(config.trunk, size_px=slices.size_px).values()) * slices.n_slices
    theirs = sum(stage_gflop(_PASS_SPEC, size_px=_PASS_PX).values()) * _PASS_SLICES
    return _PASS_CORE_S * ours / theirs


def estimate_lines(estimates: Sequence[Estimate]) -> Iterator[str]:
    """Yield a line per stage with its time, and one with the sum."""
    for one in estimates:
        about = "unknown" if one.seconds is None else f"about {duration(one.seconds)}"
        yield f"  {one.stage:<10} {about:<14} ({one.source})"
    known = [one.seconds for one in estimates if one.seconds is not None]
    atleast = "at least" if len(known) < len(estimates) else "about"
    yield f"{atleast} {duration(sum(known))} in all, if the cache is empty"
    if any(one.source == _REFERENCE_SOURCE for one in estimates):
        yield f"reference machine: {_REFERENCE_MACHINE}"
