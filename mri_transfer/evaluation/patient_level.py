"""Every figure of a patient's score: pooled over folds, per repeat and per fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mri_transfer.evaluation.fold_results import FoldRow, RepeatRow
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.calibration import brier
from mri_transfer.metrics.calibration_slope import calibration_intercept, calibration_slope
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.discrimination import auc, bootstrap_auc
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.operating_point import confusion, rates
from mri_transfer.metrics.precision_recall import average_precision, average_precision_interval
from mri_transfer.metrics.predictive_values import likelihood_ratios

__all__ = ["fold_rows", "patient_metrics", "repeat_rows"]

_RATES = ("balanced_accuracy", "accuracy", "sensitivity", "specificity", "ppv", "npv")


def patient_metrics(
    arrays: ScoreArrays,
    *,
    n_samples: int,
    rng: Callable[[str], np.random.Generator],
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """Return the figures of the patients' scores, each with its interval.

    Folds are pooled within a repeat and repeats averaged. Pooling compares scores of different
    heads, which asks more of a model than averaging the AUC of folds; it is what using one
    threshold for everybody needs.

    Parameters
    ----------
    arrays : ScoreArrays
    n_samples : int
        Resamples of the patient bootstrap.
    rng : callable
        Gives the generator of a figure by its name.
    confidence : float
    """
    scored, counts = arrays.scored, confusion(arrays.positive, arrays.predicted)
    return {
        "auc": delong_auc(scored, confidence=confidence).estimate,
        "auc_bootstrap": bootstrap_auc(
            scored, n_samples=n_samples, rng=rng("patient auc"), confidence=confidence
        ),
        "average_precision": average_precision_interval(scored, confidence=confidence),
        **rates(counts, confidence=confidence),
        **likelihood_ratios(counts, confidence=confidence),
        "brier": brier(scored, confidence=confidence),
        "calibration_intercept": calibration_intercept(scored, confidence=confidence),
        "calibration_slope": calibration_slope(scored, confidence=confidence),
    }


def repeat_rows(arrays: ScoreArrays) -> tuple[RepeatRow, ...]:
    """Return one row a repeat: the pooled figures without intervals, None where undefined."""
    rows = []
    for i, repeat in enumerate(arrays.repeats):
        scored = arrays.scored.rescored(arrays.scores[i])
        estimates = {
            **_rates_of(arrays, i, np.arange(arrays.n)),
            "calibration_intercept": calibration_intercept(scored),
            "calibration_slope": calibration_slope(scored),
        }
        rows.append(
            RepeatRow(
                repeat=repeat,
                n_patients=arrays.n,
                auc=auc(scored),
                average_precision=average_precision(scored),
                brier=np.square(arrays.scores[i] - arrays.positive).mean(),
                reasons=_reasons(estimates),
                **_values(estimates),
            )
        )
    return tuple(rows)


def fold_rows(arrays: ScoreArrays, thresholds: dict[tuple[int, int], float]) -> tuple[FoldRow, ...]:
    """Return one row a fold and repeat: its few patients, figures without intervals."""
    rows = []
    for i, repeat in enumerate(arrays.repeats):
        for fold in np.unique(arrays.fold[i]):
            inside = np.flatnonzero(arrays.fold[i] == fold)
            y = arrays.positive[inside]
            estimates = _rates_of(arrays, i, inside)
            both = 0 < y.sum() < len(y)
            one_label = {} if both else {"auc": "the fold holds patients of one label only"}
            rows.append(
                FoldRow(
                    repeat=repeat,
                    fold=int(fold),
                    n_patients=len(inside),
                    n_positive=int(y.sum()),
                    threshold=thresholds[repeat, int(fold)],
                    auc=auc(y, arrays.scores[i, inside]) if both else None,
                    reasons=_reasons(estimates, one_label),
                    **_values(estimates),
                )
            )
    return tuple(rows)


def _rates_of(
    arrays: ScoreArrays, row: int, inside: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, Estimate]:
    every = rates(confusion(arrays.positive[inside], arrays.predicted[row, inside]))
    return {name: every[name] for name in _RATES}


def _values(estimates: Mapping[str, Estimate]) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in estimates.items()}


def _reasons(
    estimates: Mapping[str, Estimate], known: Mapping[str, str] | None = None
) -> dict[str, str] | None:
    """Say why figures are None, by their names; None where none is."""
    missing = {
        name: str(estimate.reason) for name, estimate in estimates.items() if estimate.value is None
    }
    return {**(known or {}), **missing} or None
