"""The model against the baselines, on the same patients, folds and repeats."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mri_transfer.errors import EvaluationError, FoldError
from mri_transfer.evaluation.baselines import BaselineSpec, baseline_scores
from mri_transfer.evaluation.delong import AucDifference, delong_auc, delong_difference
from mri_transfer.evaluation.intervals import undefined
from mri_transfer.evaluation.operating_point import confusion, rates
from mri_transfer.evaluation.tables import ScoreArrays

__all__ = ["compare_baseline"]


def compare_baseline(
    spec: BaselineSpec,
    arrays: ScoreArrays,
    *,
    patients: pd.DataFrame,
    folds: pd.DataFrame,
    positive_label: str,
    negative_label: str,
    seed: int,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Fit a baseline on the model's folds and return its entry of `evaluation.json`.

    Parameters
    ----------
    spec : BaselineSpec
    arrays : ScoreArrays
        The model's scores.
    patients, folds, positive_label, negative_label, seed
        As in `baseline_scores`.
    confidence : float

    Returns
    -------
    dict
        covariates, auc, balanced_accuracy, and auc_difference: the model's AUC minus the
        baseline's. Every figure is undefined, with the reason, where the baseline cannot be
        fitted.
    """
    try:
        table = baseline_scores(
            spec,
            patients=patients,
            folds=folds,
            positive_label=positive_label,
            negative_label=negative_label,
            seed=seed,
        )
    except (EvaluationError, FoldError) as error:
        return _not_computable(spec, str(error), arrays.n)
    order = list(arrays.patient_ids)
    wide = table.pivot(index="repeat", columns="patient_id", values=["score", "predicted"])
    scores = wide["score"].loc[list(arrays.repeats), order].to_numpy(dtype=float)
    called = wide["predicted"].loc[list(arrays.repeats), order].to_numpy() == positive_label
    y = arrays.positive
    difference = delong_difference(y, arrays.scores, scores, confidence=confidence)
    counts = rates(confusion(y, called), confidence=confidence)
    return {
        "covariates": list(spec.covariates),
        "auc": delong_auc(y, scores, confidence=confidence).estimate.as_dict(),
        "balanced_accuracy": counts["balanced_accuracy"].as_dict(),
        "auc_difference": difference.as_dict(),
    }


def _not_computable(spec: BaselineSpec, reason: str, n: int) -> dict[str, Any]:
    nothing = undefined(f"not computable: {reason}", n=n, method="none")
    return {
        "covariates": list(spec.covariates),
        "auc": nothing.as_dict(),
        "balanced_accuracy": nothing.as_dict(),
        "auc_difference": AucDifference(estimate=nothing, p=None).as_dict(),
    }
