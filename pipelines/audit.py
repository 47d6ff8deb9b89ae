"""audit: the leakage stress test and its companions, from cached features."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from mri_transfer.audit import run_audit, stress_test
from mri_transfer.folds import Folds
from mri_transfer.heads import Head
from mri_transfer.predictions import resolve_aggregation
from mri_transfer.specs import spec_dict
from pipelines.config import RunConfig
from pipelines.duplicates import read_duplicates
from pipelines.features import read_feature_table
from pipelines.stage import Context, Stage, StageResult
from pipelines.train import TRAIN
from pipelines.workspace import Workspace

__all__ = ["AUDIT"]


def _inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [
        (workspace.features, "features"),
        (workspace.folds, "folds"),
        (workspace.patient_scores, "train"),
        (workspace.duplicates, "prepare"),
    ]


def _usual_candidate(workspace: Workspace, config: RunConfig) -> int:
    """Return the candidate most outer folds chose; ties go to the most regularised."""
    stems = sorted(workspace.heads.glob("r*_f*.json"))
    chosen = Counter(Head.read(path.with_suffix("")).facts["chosen"] for path in stems)
    return max(range(len(config.heads.candidates)), key=lambda i: (chosen[i], -i))


def _work(context: Context) -> StageResult:
    workspace, config = context.workspace, context.config
    stress = stress_test(
        config.heads.only(_usual_candidate(workspace, config)),
        read_feature_table(workspace),
        Folds.read(workspace.folds),
        fold_spec=config.folds,
        aggregation=resolve_aggregation(config.predictions, config.heads.kind),
        positive_label=config.labels.positive,
        n_permutations=config.audit.n_permutations,
        bootstrap_samples=config.audit.bootstrap_samples,
        seed=config.seed,
        progress=context.reporter.counter("leakage stress test"),
    )
    run_audit(stress, read_duplicates(workspace)).write(workspace.audit)
    return StageResult(outputs=[workspace.audit], summary=stress.sentence)


def _specs(config: RunConfig) -> dict[str, Any]:
    # It trains the same heads again.
    return {**TRAIN.specs(config), "audit": spec_dict(config.audit)}


AUDIT = Stage(
    name="audit",
    inputs=_inputs,
    specs=_specs,
    work=_work,
)
