"""evaluate: how good the held-out scores are, with intervals, and what baselines reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mri_transfer.evaluation import Evaluation, EvaluationFacts, evaluate
from mri_transfer.folds import Folds
from mri_transfer.heads import Head
from mri_transfer.manifest import read_manifest
from mri_transfer.predictions import PatientScores, SliceScores
from mri_transfer.specs import spec_dict
from pipelines.config import RunConfig
from pipelines.stage import Context, Stage, StageResult
from pipelines.workspace import Workspace

__all__ = ["EVALUATE", "answer_lines"]


def answer_lines(workspace: Workspace) -> Iterator[str]:
    """Yield the run's answer in a few lines of text."""
    document = Evaluation.read(workspace.evaluation).document
    if document["synthetic"]:
        yield "SYNTHETIC COHORT: these figures say nothing about patients."
    if document["trunk_weights"] == "random":
        yield "UNTRAINED TRUNK: a control, not a model."
    yield (
        f"{document['n_patients']} patients, {document['n_positive']} "
        f"{document['positive_label']}; {document['n_folds']} folds by patient, "
        f"{document['n_repeats']} repeats"
    )
    for name, metric in (("AUC", "auc"), ("balanced accuracy", "balanced_accuracy")):
        yield f"  patient {name:<18} {_estimate(document['patient'][metric])}"
    yield f"  slice accuracy             {_estimate(document['slice']['accuracy'])}"
    for name, baseline in document["baselines"].items():
        yield f"  baseline {name:<17} {_estimate(baseline['auc'])} (AUC)"


def _estimate(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return f"not defined: {entry['reason']}"
    if entry["ci_low"] is None:
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} ({entry['ci_low']:.3f} to {entry['ci_high']:.3f})"


def _inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [
        (workspace.manifest, "check"),
        (workspace.folds, "folds"),
        (workspace.patient_scores, "train"),
        (workspace.slice_scores, "train"),
    ]


def _work(context: Context) -> StageResult:
    workspace, config = context.workspace, context.config
    manifest = read_manifest(workspace.manifest, check_files=False)
    folds = Folds.read(workspace.folds)
    thresholds = {
        (one.repeat, one.fold): float(
            Head.read(workspace.head(one.repeat, one.fold)).facts["threshold"]
        )
        for one in folds
    }
    result = evaluate(
        PatientScores.read(workspace.patient_scores).table,
        SliceScores.read(workspace.slice_scores).table,
        patients=manifest.patients(),
        folds=folds.table(),
        thresholds=thresholds,
        spec=config.evaluation,
        positive_label=config.labels.positive,
        negative_label=config.labels.negative,
        seed=config.seed,
        facts=EvaluationFacts(
            synthetic="synthetic" in manifest.covariates, trunk_weights=config.trunk.weights
        ),
    )
    result.write(workspace.evaluation)
    auc = _estimate(result.document["patient"]["auc"])
    return StageResult(outputs=[workspace.evaluation], summary=f"patient AUC {auc}")


def _specs(config: RunConfig) -> dict[str, Any]:
    return {
        "labels": spec_dict(config.labels),
        "folds": spec_dict(config.folds),
        "evaluation": spec_dict(config.evaluation),
        "trunk_weights": config.trunk.weights,
    }


EVALUATE = Stage(name="evaluate", inputs=_inputs, specs=_specs, work=_work)
