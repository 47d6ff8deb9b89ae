"""How well scores order patients: AUC, the ROC curve, a threshold.

Scores of repeated cross-validation come as shape (n_repeats, n_patients): every repeat scores
every patient once. The figure of a repeat pools its folds, and the figure reported is the mean
over repeats. The intervals describe the sampling of test patients for the heads that were
fitted; they hold no variance of refitting on other training patients, for which no unbiased
estimate from one cross-validation exists (Bengio and Grandvalet 2004, JMLR 5:1089-1105).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.intervals import Estimate, patient_bootstrap

__all__ = [
    "auc",
    "bootstrap_auc",
    "check_labels",
    "check_scores",
    "delong_placements",
    "mean_roc_curve",
    "pair_kernel",
    "patient_weights",
    "resampled_auc",
    "roc_curve",
    "youden_threshold",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def check_labels(labels: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return labels as booleans, shape (n,), True for the positive label.

    Raises
    ------
    EvaluationError
        If they are not 0 and 1, or only one of the two occurs.
    """
    values = np.asarray(labels)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise EvaluationError(
            "labels must be one row of 0 and 1",
            found=f"shape {values.shape}, values {sorted(set(values.ravel().tolist()))[:5]}",
        )
    positive = values.astype(bool)
    if positive.all() or not positive.any():
        raise EvaluationError(
            "discrimination needs patients of both labels",
            found=f"{len(positive)} patients of one label",
            remedy="Evaluate a cohort that holds the positive and the negative label",
        )
    return positive


def check_scores(scores: npt.ArrayLike, n: int) -> FloatArray:
    """Return scores as float64 of shape (n_repeats, n); one repeat may come as shape (n,).

    Raises
    ------
    EvaluationError
        If the shape does not fit or a score is not finite.
    """
    values = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if values.ndim != 2 or values.shape[1] != n or values.shape[0] == 0:
        raise EvaluationError(
            "scores do not fit the labels",
            found=f"shape {np.shape(scores)}",
            expected=f"({n},) or (n_repeats, {n})",
        )
    if not np.isfinite(values).all():
        raise EvaluationError("a score is not a finite number")
    return values


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive patient outscores a negative one.

    Computed from ranks; ties count one half (Mann and Whitney; Hanley and McNeil 1982).

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float, shape (n,) or (n_repeats, n)
        With several repeats the mean of their AUCs is returned.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is not finite.
    """
    positive_placements, _ = delong_placements(labels, scores)
    return float(positive_placements.mean())


def delong_placements(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return the placement values of DeLong et al. (1988), averaged over repeats.

    The placement of a positive patient is the share of negative patients scored below (ties
    count one half); of a negative patient, the share of positive patients scored above. The
    mean AUC over repeats is a U-statistic whose kernel is the mean of the repeats' kernels, so
    that averaged placements give its variance exactly as plain ones give that of a single AUC.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float, shape (n,) or (n_repeats, n)

    Returns
    -------
    positive : ndarray of float64, shape (n_positive,)
    negative : ndarray of float64, shape (n_negative,)
        Both have the AUC as their mean.
    """
    is_positive = check_labels(labels)
    rows = check_scores(scores, len(is_positive))
    n_positive = int(is_positive.sum())
    n_negative = len(is_positive) - n_positive
    upper = np.zeros(n_positive)
    lower = np.zeros(n_negative)
    for row in rows:
        positive, negative = row[is_positive], row[~is_positive]
        upper += _mid_count(np.sort(negative), positive) / n_negative
        lower += 1.0 - _mid_count(np.sort(positive), negative) / n_positive
    return upper / len(rows), lower / len(rows)


def _mid_count(ordered: FloatArray, values: FloatArray) -> FloatArray:
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    return (below + up_to) / 2.0


def bootstrap_auc(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Estimate:
    """AUC with a stratified patient bootstrap interval; a patient's repeats stay together.

    Every pair of patients is compared once. A resample then is a pair of count vectors around
    that matrix, so all of them are one matrix product.
    """
    is_positive = check_labels(labels)
    rows = check_scores(scores, len(is_positive))
    kernel = pair_kernel(rows[:, is_positive], rows[:, ~is_positive])

    def statistic(indices: IntArray) -> FloatArray:
        weights = patient_weights(indices, len(is_positive))
        return resampled_auc(kernel, weights[:, is_positive], weights[:, ~is_positive])

    return patient_bootstrap(
        statistic, is_positive, n_samples=n_samples, rng=rng, confidence=confidence, batched=True
    )


def pair_kernel(upper: npt.ArrayLike, lower: npt.ArrayLike) -> FloatArray:
    """Return the share of repeats in which each `upper` patient outscores each `lower` one.

    Parameters
    ----------
    upper, lower : array_like of float, shape (n_repeats, n_upper) and (n_repeats, n_lower)

    Returns
    -------
    ndarray of float64, shape (n_upper, n_lower)
        Ties count one half. The mean of all entries is the mean AUC over repeats.
    """
    above, below = np.asarray(upper, dtype=np.float64), np.asarray(lower, dtype=np.float64)
    kernel = np.zeros((above.shape[1], below.shape[1]))
    for row, other in zip(above, below, strict=True):
        kernel += (np.sign(row[:, None] - other[None, :]) + 1.0) / (2.0 * len(above))
    return kernel


def resampled_auc(kernel: FloatArray, upper: FloatArray, lower: FloatArray) -> FloatArray:
    """Return the mean of a kernel of pairs in each resample of patients.

    Parameters
    ----------
    kernel : ndarray, shape (n_upper, n_lower)
    upper, lower : ndarray, shape (b, n_upper) and (b, n_lower)
        How often each patient is drawn; rows add up to n_upper and to n_lower.

    Returns
    -------
    ndarray of float64, shape (b,)
    """
    sums = ((upper @ kernel) * lower).sum(axis=1)
    return np.asarray(sums / kernel.size, dtype=np.float64)


def patient_weights(indices: IntArray, n: int) -> FloatArray:
    """Return how often each of n patients is drawn in each row: (b, n) from positions (b, k)."""
    offsets = np.arange(len(indices))[:, None] * n
    counts = np.bincount((indices + offsets).ravel(), minlength=len(indices) * n)
    return counts.reshape(len(indices), n).astype(np.float64)


def roc_curve(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the false and true positive rates at every distinct score, from (0, 0) to (1, 1).

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float, shape (n,)

    Returns
    -------
    fpr, tpr : ndarray of float64, shape (n_distinct + 1,)
    """
    is_positive = check_labels(labels)
    row = check_scores(scores, len(is_positive))[0]
    order = np.argsort(-row, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(row[order]) != 0, True))
    true = np.cumsum(is_positive[order])[ends] / is_positive.sum()
    false = np.cumsum(~is_positive[order])[ends] / (~is_positive).sum()
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


def mean_roc_curve(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the mean of the repeats' ROC curves: the mean sensitivity at each specificity.

    Its area is the mean of the repeats' AUC (vertical averaging: Fawcett 2006, Pattern Recogn
    Lett 27:861-874).

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float, shape (n,) or (n_repeats, n)

    Returns
    -------
    fpr, tpr : ndarray of float64
        From (0, 0) to (1, 1).
    """
    is_positive = check_labels(labels)
    curves = [roc_curve(is_positive, row) for row in check_scores(scores, len(is_positive))]
    at = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    ends = [_sensitivity_ends(fpr, tpr, at) for fpr, tpr in curves]
    low, high = np.mean(ends, axis=0)
    points = np.stack([np.repeat(at, 2), np.stack([low, high], axis=1).ravel()])
    kept = np.append(True, (np.diff(points) != 0).any(axis=0))
    return points[0, kept], points[1, kept]


def _sensitivity_ends(fpr: FloatArray, tpr: FloatArray, at: FloatArray) -> FloatArray:
    """Return a curve's lowest and highest sensitivity at false positive rates, shape (2, n).

    They differ where the curve climbs at one rate; between its points it is a straight line.
    """
    below = np.searchsorted(fpr, at, side="right") - 1
    above = np.searchsorted(fpr, at, side="left")
    gap = fpr[above] - fpr[below]
    share = np.divide(at - fpr[below], gap, out=np.zeros_like(at), where=gap > 0)
    between = tpr[below] + share * (tpr[above] - tpr[below])
    low = np.where(gap > 0, between, tpr[above])
    high = np.where(gap > 0, between, tpr[below])
    return np.stack([low, high])


def youden_threshold(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the threshold with the highest sensitivity + specificity - 1 (Youden 1950).

    A patient is called positive if the score is at or above it.

    Candidates are the midpoints between adjacent distinct scores, so that both labels are
    predicted for somebody. Among equally good ones the most balanced wins (least difference
    between sensitivity and specificity), then the lowest: the choice depends on nothing else.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
        Training patients.
    scores : array_like of float, shape (n,)

    Returns
    -------
    float
        With constant scores: that score, which calls every patient positive.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is not finite.
    """
    positive = check_labels(labels)
    row = check_scores(scores, len(positive))[0]
    distinct = np.unique(row)
    if len(distinct) == 1:
        return float(distinct[0])
    middles = distinct[:-1] + np.diff(distinct) / 2.0
    ordered_positive, ordered_negative = np.sort(row[positive]), np.sort(row[~positive])
    # A midpoint of two neighbouring floats may round to either: compare with the upper score.
    missed = np.searchsorted(ordered_positive, distinct[1:], side="left")
    cleared = np.searchsorted(ordered_negative, distinct[1:], side="left")
    # Integers (everything times n_positive * n_negative) make ties exact.
    sensitivity = (len(ordered_positive) - missed) * len(ordered_negative)
    specificity = cleared * len(ordered_positive)
    best = np.lexsort((middles, np.abs(sensitivity - specificity), -(sensitivity + specificity)))
    return float(middles[best[0]])
