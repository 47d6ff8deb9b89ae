"""folds: which patients are held out together."""

from __future__ import annotations

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import ConfigurationError
from mri_transfer.training.folds import Folds, make_folds
from pipelines.config import RunConfig
from pipelines.stage import Context, StageResult
from pipelines.workspace import Workspace

__all__ = ["read_folds", "work"]


def read_folds(workspace: Workspace, config: RunConfig) -> Folds:
    """Read a run's folds with the two labels of its scores."""
    return Folds.read(workspace.folds).against(config.labels.positive, config.labels.others)


def work(context: Context) -> StageResult:
    """Run the stage."""
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
