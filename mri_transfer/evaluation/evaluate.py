"""The evaluation of a run: from tables of scores to `evaluation.json`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.evaluation.caveats import find_caveats
from mri_transfer.evaluation.comparison import BaselineResult, compare_baseline, find_baselines
from mri_transfer.evaluation.document import Evaluation, EvaluationDocument
from mri_transfer.evaluation.failures import worst_patients
from mri_transfer.evaluation.fold_results import Choice
from mri_transfer.evaluation.group_results import Subgroups
from mri_transfer.evaluation.incremental_value import incremental_value
from mri_transfer.evaluation.matching import age_matched
from mri_transfer.evaluation.patient_level import fold_rows, patient_metrics, repeat_rows
from mri_transfer.evaluation.results import (
    BrierParts,
    Calibration,
    ConfusionTable,
    PatientFigures,
    SliceFigures,
)
from mri_transfer.evaluation.settings import CohortTables, EvaluationFacts, EvaluationSpec, Evidence
from mri_transfer.evaluation.slice_level import slice_metrics
from mri_transfer.evaluation.subgroups import subgroup_gaps, subgroup_rows
from mri_transfer.evaluation.tables import ScoreArrays, check_patients, score_arrays
from mri_transfer.metrics.brier_score import brier_decomposition
from mri_transfer.metrics.calibration import calibration_curve
from mri_transfer.metrics.decision_curve import decision_curve
from mri_transfer.metrics.discrimination import mean_roc_curve, thinned_curve
from mri_transfer.metrics.multiclass import multiclass_metrics
from mri_transfer.metrics.named_rng import named_rng
from mri_transfer.metrics.operating_point import confusion
from mri_transfer.metrics.operating_targets import operating_points
from mri_transfer.metrics.precision import precision_summary
from mri_transfer.metrics.predictive_values import by_prevalence
from mri_transfer.metrics.results import ClassFigures, RocCurve
from mri_transfer.metrics.smooth_calibration import smooth_calibration
from mri_transfer.metrics.task import Task

__all__ = ["evaluate"]

Rng = Callable[[str], np.random.Generator]


def evaluate(
    patient_scores: pd.DataFrame,
    slice_scores: pd.DataFrame | None,
    *,
    patients: pd.DataFrame,
    folds: pd.DataFrame,
    thresholds: Mapping[tuple[int, int], float],
    spec: EvaluationSpec,
    task: Task,
    seed: int,
    facts: EvaluationFacts,
    evidence: Evidence | None = None,
) -> Evaluation:
    """Evaluate the cross-validated scores of a cohort.

    Parameters
    ----------
    patient_scores : DataFrame
        Columns repeat, fold, patient_id, label, score, predicted; one row a patient and repeat.
    slice_scores : DataFrame or None
        Columns repeat, fold, patient_id, scan_id, slice, z_mm, score.
    patients : DataFrame
        Indexed by patient_id: label, covariates and, where known, age, sex and site. Patients
        without scores are passed over.
    folds : DataFrame
        Columns repeat, patient_id, fold, label.
    thresholds : mapping of (repeat, fold) to float
        Score from which the head of a fold predicts the positive label.
    spec : EvaluationSpec
    task : Task
    seed : int
        Of the resampling and of the baselines' inner folds.
    facts : EvaluationFacts
    evidence : Evidence, optional
        What else the run knows; without it the sections that need it are empty.

    Returns
    -------
    Evaluation
        The same for the same arguments, whatever the order of the rows.

    Raises
    ------
    PredictionError
        If scores contradict each other, the folds, the thresholds or the patient table.
    EvaluationError
        If only one label occurs.
    ConfigurationError
        If a covariate is not in the patient table.
    """
    from threadpoolctl import threadpool_limits

    evidence = evidence or Evidence()
    arrays = score_arrays(
        patient_scores,
        folds=folds,
        thresholds=thresholds,
        task=task,
    )
    rows = check_patients(patients, arrays)
    cohort = CohortTables(patients=rows, folds=folds, task=task)

    rng = functools.partial(named_rng, seed)
    # Hundreds of tiny fits and products: threads cost more than they bring, most of all on a
    # busy machine, and one thread sums in the same order on any number of cores.
    with threadpool_limits(limits=1):
        baselines = find_baselines(cohort, spec=spec, evidence=evidence, seed=seed)
        document = EvaluationDocument(
            **_heading(arrays, slice_scores, spec, facts),
            **_figures(arrays, slice_scores, spec, rng),
            **_operation(arrays, baselines, cohort, spec, evidence, rng),
            **_groups(arrays, rows, slice_scores, spec, rng),
            per_repeat=repeat_rows(arrays),
            per_fold=fold_rows(arrays, dict(thresholds)),
            choices=_choices(evidence.heads),
            classes=_classes(evidence, spec, rng),
            baselines={
                baseline.name: compare_baseline(
                    baseline,
                    arrays,
                    n_samples=spec.bootstrap_samples,
                    rng=rng,
                    confidence=spec.confidence,
                )
                for baseline in baselines
            },
            incremental_value=incremental_value(
                arrays, baselines, cohort, spec=spec, evidence=evidence, seed=seed, rng=rng
            ),
        )
    document = document.model_copy(update={"caveats": find_caveats(document, rows)})
    return Evaluation(document=document, baseline_scores=_scores_of(baselines))


def _scores_of(baselines: Sequence[BaselineResult]) -> pd.DataFrame:
    tables = [base.table.assign(baseline=base.name) for base in baselines if base.table is not None]
    columns = ["baseline", "repeat", "fold", "patient_id", "label", "score", "predicted"]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def _heading(
    arrays: ScoreArrays,
    slice_scores: pd.DataFrame | None,
    spec: EvaluationSpec,
    facts: EvaluationFacts,
) -> dict[str, Any]:
    n_scans, n_slices = facts.n_scans, facts.n_slices
    if slice_scores is not None:
        slices = slice_scores[["scan_id", "slice"]].drop_duplicates()
        n_scans = int(slices["scan_id"].nunique()) if n_scans is None else n_scans
        n_slices = len(slices) if n_slices is None else n_slices
    return {
        "n_patients": arrays.n,
        "n_scans": n_scans,
        "n_slices": n_slices,
        "n_repeats": len(arrays.repeats),
        "n_folds": max(len(np.unique(row)) for row in arrays.fold),
        "negative_label": arrays.task.negative,
        "positive_label": arrays.task.positive,
        "n_positive": int(arrays.positive.sum()),
        "synthetic": facts.synthetic,
        "trunk_weights": facts.trunk_weights,
        "confidence": spec.confidence,
        "bootstrap_samples": spec.bootstrap_samples,
        "confusion": ConfusionTable(
            labels=arrays.task.labels, matrix=confusion(arrays.positive, arrays.predicted).matrix()
        ),
    }


def _figures(
    arrays: ScoreArrays, slice_scores: pd.DataFrame | None, spec: EvaluationSpec, rng: Rng
) -> dict[str, Any]:
    """Discrimination and calibration."""
    settings: dict[str, Any] = {
        "n_samples": spec.bootstrap_samples,
        "confidence": spec.confidence,
    }
    patient = patient_metrics(arrays, rng=rng, **settings)
    slices = slice_metrics(slice_scores, arrays, rng=rng, **settings)
    scored = arrays.scored
    fpr, tpr = thinned_curve(*mean_roc_curve(scored))
    area = patient["auc"].value
    assert area is not None  # of both labels
    curve = calibration_curve(scored, n_bins=spec.calibration_bins, confidence=spec.confidence)
    smooth, distances = smooth_calibration(scored, rng=rng("smooth calibration"), **settings)
    parts = brier_decomposition(scored, rng=rng("brier parts"), **settings)
    return {
        "patient": PatientFigures(**patient, **distances),
        "brier_parts": BrierParts(**parts),
        "slice": SliceFigures(**slices),
        "roc": RocCurve(fpr=tuple(fpr), tpr=tuple(tpr), auc=area),
        "calibration": Calibration(**dict(curve), smooth=smooth),
    }


def _operation(
    arrays: ScoreArrays,
    baselines: Sequence[BaselineResult],
    cohort: CohortTables,
    spec: EvaluationSpec,
    evidence: Evidence,
    rng: Rng,
) -> dict[str, Any]:
    """Say what the scores are good for: decisions, operating points, other prevalences."""
    scored = arrays.scored
    covariates = {
        base.name: base.arrays(arrays)[0]
        for base in baselines
        if base.kind == "covariates" and base.table is not None
    }
    targets: dict[str, dict[tuple[int, int], float]] = {}
    for head in evidence.heads:
        for name, threshold in head.get("target_thresholds", {}).items():
            targets.setdefault(name, {})[head["repeat"], head["fold"]] = threshold
    return {
        "decision_curve": decision_curve(
            scored,
            n_samples=spec.bootstrap_samples,
            rng=rng("decision curve"),
            confidence=spec.confidence,
            others=covariates,
        ),
        "operating_points": operating_points(
            scored,
            arrays.fold,
            thresholds=targets,
            repeats=arrays.repeats,
            confidence=spec.confidence,
        ),
        "predictive_values": by_prevalence(
            confusion(arrays.positive, arrays.predicted),
            prevalences=spec.prevalences,
            confidence=spec.confidence,
        ),
        "precision": precision_summary(
            scored, predicted=arrays.predicted, confidence=spec.confidence
        ),
    }


def _groups(
    arrays: ScoreArrays,
    patients: pd.DataFrame,
    slice_scores: pd.DataFrame | None,
    spec: EvaluationSpec,
    rng: Rng,
) -> dict[str, Any]:
    """For whom the scores hold, and for whom they fail."""
    settings: dict[str, Any] = {
        "n_samples": spec.bootstrap_samples,
        "confidence": spec.confidence,
    }
    return {
        "subgroups": Subgroups(
            rows=subgroup_rows(arrays, patients, rng=rng("subgroups"), **settings),
            gaps=subgroup_gaps(arrays, patients, rng=rng("gaps"), **settings),
        ),
        "age_matched": age_matched(
            arrays,
            patients,
            rng=rng("age matched"),
            caliper_years=spec.age_caliper_years,
            **settings,
        ),
        "failures": worst_patients(arrays, patients, slice_scores, n=spec.worst_patients),
    }


def _classes(evidence: Evidence, spec: EvaluationSpec, rng: Rng) -> ClassFigures | None:
    """Return the figures of three classes or more; None where two were told apart."""
    if evidence.class_scores is None:
        return None
    return multiclass_metrics(
        evidence.class_labels,
        evidence.class_scores,
        evidence.classes,
        n_samples=spec.bootstrap_samples,
        rng=rng,
        confidence=spec.confidence,
    )


def _choices(heads: Sequence[Mapping[str, Any]]) -> tuple[Choice, ...]:
    """List what each outer fold chose on its training patients."""
    return tuple(
        Choice.model_validate({name: head[name] for name in Choice.model_fields}) for head in heads
    )
