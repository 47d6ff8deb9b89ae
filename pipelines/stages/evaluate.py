"""evaluate: how good the held-out scores are, with intervals, and what baselines reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import atomic_write_text
from mri_transfer.evaluation import EvaluationDocument, EvaluationFacts, Evidence, evaluate
from mri_transfer.metrics.task import Task
from mri_transfer.training.predictions import ClassScores, InnerScores, PatientScores, SliceScores
from pipelines.console import estimate_text
from pipelines.stage import Context, StageResult
from pipelines.stages.baselines import image_baselines
from pipelines.stages.folds import read_folds
from pipelines.stages.train import read_trained
from pipelines.workspace import Workspace

__all__ = ["answer_lines", "work"]


def answer_lines(workspace: Workspace) -> Iterator[str]:
    """Yield the run's answer in a few lines of text."""
    document = EvaluationDocument.read(workspace.evaluation, stage="evaluate")
    if document.synthetic:
        yield "SYNTHETIC COHORT: these figures say nothing about patients."
    if document.trunk_weights == "random":
        yield "UNTRAINED TRUNK: a control, not a model."
    yield (
        f"{document.n_patients} patients, {document.n_positive} {document.positive_label}; "
        f"{document.n_folds} folds by patient, {document.n_repeats} repeats"
    )
    rows = {
        "patient AUC": document.patient.auc,
        "patient balanced accuracy": document.patient.balanced_accuracy,
        "slice accuracy": document.slice.accuracy,
    }
    for name, baseline in document.baselines.items():
        rows[f"AUC of {name}"] = baseline.auc
    width = max(map(len, rows))
    for name, entry in rows.items():
        yield f"  {name:<{width}}  {estimate_text(entry)}"


def _classes(context: Context) -> dict[str, Any]:
    """Return what the evaluation is told of three classes or more."""
    classes = context.config.labels.classes
    if not classes:
        return {}
    scores = ClassScores.read(context.workspace.class_scores)
    labels, probabilities = scores.probabilities(classes)
    return {"classes": classes, "class_labels": labels, "class_scores": probabilities}


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace, config = context.workspace, context.config
    manifest = read_manifest(workspace.manifest, check_files=False)
    folds = read_folds(workspace, config)
    labels = dict(zip(folds.patient_ids, folds.labels, strict=True))
    patients = manifest.patients()
    patients["label"] = [labels[name] for name in patients.index]
    heads = [one.head.facts for one in read_trained(workspace, config, folds)]
    thresholds = {(head["repeat"], head["fold"]): float(head["threshold"]) for head in heads}
    result = evaluate(
        PatientScores.read(workspace.patient_scores).table,
        SliceScores.read(workspace.slice_scores).table,
        patients=patients,
        folds=folds.table(),
        thresholds=thresholds,
        spec=config.evaluation,
        task=Task(positive=config.labels.positive, negative=config.labels.others),
        seed=config.seed,
        facts=EvaluationFacts(
            synthetic="synthetic" in manifest.covariates, trunk_weights=config.trunk.weights
        ),
        evidence=Evidence(
            heads=heads,
            inner_scores=InnerScores.read(workspace.inner_scores).table,
            image_baselines=image_baselines(context, folds),
            **_classes(context),
        ),
    )
    result.document.write(workspace.evaluation)
    atomic_write_text(
        workspace.baseline_scores, result.baseline_scores.to_csv(index=False, lineterminator="\n")
    )
    auc = estimate_text(result.document.patient.auc)
    return StageResult(
        outputs=[workspace.evaluation, workspace.baseline_scores], summary=f"patient AUC {auc}"
    )
