"""train: a head per outer fold, and the scores of the patients it did not see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mri_transfer.crossvalidation import cross_validate
from mri_transfer.folds import Folds
from mri_transfer.specs import spec_dict
from pipelines.config import RunConfig
from pipelines.features import read_feature_table
from pipelines.stage import Context, Stage, StageResult
from pipelines.workspace import Workspace

__all__ = ["TRAIN"]


def _inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [(workspace.features, "features"), (workspace.folds, "folds")]


def _clear_heads(workspace: Workspace) -> None:
    """Remove the heads of an earlier fold scheme, which would pass for this one's."""
    for pattern in ("r*_f*.json", "r*_f*.safetensors"):
        for file in workspace.heads.glob(pattern):
            file.unlink()


def _work(context: Context) -> StageResult:
    workspace, config = context.workspace, context.config
    result = cross_validate(
        config.heads,
        read_feature_table(workspace),
        Folds.read(workspace.folds),
        fold_spec=config.folds,
        prediction_spec=config.predictions,
        positive_label=config.labels.positive,
        negative_label=config.labels.negative,
        seed=config.seed,
        progress=context.reporter.counter(f"fitting {config.heads.kind} heads"),
    )
    _clear_heads(workspace)
    outputs = [workspace.patient_scores, workspace.slice_scores]
    for one in result.trained:
        stem = workspace.head(one.repeat, one.fold)
        one.head.write(stem)
        outputs += [stem.with_name(stem.name + end) for end in (".safetensors", ".json")]
    result.patients.write(workspace.patient_scores)
    result.slices.write(workspace.slice_scores)
    return StageResult(
        outputs=outputs,
        summary=f"{len(result.trained)} {config.heads.kind} heads, "
        f"{len(result.patients.table)} held-out patient scores",
    )


def _specs(config: RunConfig) -> dict[str, Any]:
    return {
        "labels": spec_dict(config.labels),
        "folds": spec_dict(config.folds),
        "heads": spec_dict(config.heads),
        "predictions": spec_dict(config.predictions),
    }


TRAIN = Stage(
    name="train",
    inputs=_inputs,
    specs=_specs,
    work=_work,
)
