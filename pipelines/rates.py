"""How long stages took on this machine: kept in the cache when they have run, for estimates.

A rate is processor time (seconds times workers) per scan, or per patient for stages that work on
patients. It holds for the settings of the stage, so that another head or trunk has another.
"""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from typing import Any

from mri_transfer.core.files import read_json_object, write_json
from mri_transfer.core.specs import digest
from mri_transfer.models.features import resolve_features
from pipelines.config import RunConfig
from pipelines.stage import Stage

__all__ = ["keep_rate", "known_rate"]

_SCHEMA = "mri-transfer/rate/1"
#: With fewer scans or patients, loading libraries would count for too much.
_ENOUGH = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate:
    """A measured rate.

    Attributes
    ----------
    core_s : float
        Seconds times workers, per scan or patient.
    n : int
        Scans or patients that it was measured on.
    host : str
        The machine.
    """

    core_s: float
    n: int
    host: str


def keep_rate(
    cache: Path, stage: Stage, config: RunConfig, *, seconds: float, n: int, workers: int
) -> None:
    """Keep what a stage took, unless it was too little to say anything.

    Parameters
    ----------
    cache : Path
    stage : Stage
    config : RunConfig
    seconds : float
        Of the whole stage.
    n : int
        Scans computed (not found in the cache), or patients.
    workers : int
        Cores in use.
    """
    if n < _ENOUGH:
        return
    rate = Rate(core_s=seconds * workers / n, n=n, host=socket.gethostname())
    write_json(_path(cache, stage, config), {"schema": _SCHEMA, **dataclasses.asdict(rate)})


def known_rate(cache: Path, stage: Stage, config: RunConfig) -> Rate | None:
    """Return the rate of a stage with these settings; None if it has not been measured."""
    found = read_json_object(_path(cache, stage, config))
    if found is None or found.pop("schema", None) != _SCHEMA:
        return None
    try:
        return Rate(core_s=float(found["core_s"]), n=int(found["n"]), host=str(found["host"]))
    except (KeyError, TypeError, ValueError):
        return None  # edited by hand


def _path(cache: Path, stage: Stage, config: RunConfig) -> Path:
    return cache / "rates" / f"{stage.name}-{digest(_relevant(stage, config))[:16]}.json"


def _relevant(stage: Stage, config: RunConfig) -> dict[str, Any]:
    """Return the settings that change a stage's work per scan or patient."""
    specs = {
        name: value
        for name, value in stage.specs(config).items()
        if name not in ("labels", "git_commit", "poolings")
    }
    if "trunk" in specs:
        # Any numbers are computed with equally fast.
        specs["trunk"] = {"name": config.trunk.name, "layer": config.trunk.layer}
    # Of every stage: some pass slices through an untrained trunk, as features are computed.
    computed = resolve_features(config.features)
    specs["features"] = {"precision": computed.precision, "device": computed.device}
    specs["slices"] = {"n_slices": config.slices.n_slices, "size_px": config.slices.size_px}
    return specs
