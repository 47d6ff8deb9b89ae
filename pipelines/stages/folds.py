"""folds: which patients are held out together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.specs import spec_dict
from mri_transfer.errors import ConfigurationError
from mri_transfer.training.folds import Folds, make_folds
from pipelines.config import RunConfig
from pipelines.stage import Context, Stage, StageResult
from pipelines.stages.prepare import PREPARE
from pipelines.workspace import Workspace

__all__ = ["FOLDS", "read_folds"]


def read_folds(workspace: Workspace, config: RunConfig) -> Folds:
    """Read a run's folds with the two labels of its scores."""
    return Folds.read(workspace.folds).against(config.labels.positive, config.labels.others)


def _inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [(workspace.manifest, "prepare")]


def _work(context: Context) -> StageResult:
    workspace, config = context.workspace, context.config
    if config.labels.unlabelled == "keep":
        raise ConfigurationError(
            "folds need a label for every patient",
            where="labels.unlabelled",
            found="keep",
            expected="exclude",
            remedy="End the run with --until features, or leave unlabelled scans out",
        )
    patients = read_manifest(workspace.manifest, check_files=False).patients()
    folds = make_folds(
        list(patients.index), patients["label"].tolist(), spec=config.folds, seed=config.seed
    )
    folds.write(workspace.folds)
    return StageResult(
        outputs=[workspace.folds],
        summary=f"{len(folds.patient_ids)} patients in {config.folds.n_folds} folds, "
        f"{config.folds.n_repeats} repeats",
    )


def _specs(config: RunConfig) -> dict[str, Any]:
    return {"labels": spec_dict(config.labels), "folds": spec_dict(config.folds)}


FOLDS = Stage(
    name="folds",
    inputs=_inputs,
    specs=_specs,
    work=_work,
    after=(PREPARE,),
)
