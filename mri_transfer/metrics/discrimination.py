"""How well scores order patients: AUC, the ROC curve, a threshold.

The figure of a repeat pools its folds, and the figure reported is the mean
over repeats. The intervals describe the sampling of test patients for the heads that were
fitted; they hold no variance of refitting on other training patients, for which no unbiased
estimate from one cross-validation exists (Bengio and Grandvalet 2004, JMLR 5:1089-1105).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray
from mri_transfer.metrics.intervals import Estimate, patient_bootstrap
from mri_transfer.metrics.ranked_pairs import RankedPairs, is_many, pair_sums
from mri_transfer.metrics.scored import ScoredPatients, metric

__all__ = [
    "auc",
    "bootstrap_auc",
    "bootstrap_pairs",
    "delong_placements",
    "mean_roc_curve",
    "pair_kernel",
    "patient_kernel",
    "patient_weights",
    "resampled_auc",
    "roc_curve",
    "thinned_curve",
    "youden_threshold",
]

#: Of a curve that is written down; one of 2000 patients or fewer stays as it is.
_MAX_POINTS = 4001


@metric
def auc(patients: ScoredPatients) -> float:
    """Area under the ROC curve: the chance that a positive patient outscores a negative one.

    Computed from ranks; ties count one half (Mann and Whitney; Hanley and McNeil 1982).

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and scores of shape (n,) or (n_repeats, n).
        With several repeats the mean of their AUCs is returned.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is not finite.
    """
    return float(delong_placements(patients)[0].mean())


@metric
def delong_placements(patients: ScoredPatients) -> tuple[FloatArray, FloatArray]:
    """Return the placement values of DeLong et al. (1988), averaged over repeats.

    The placement of a positive patient is the share of negative patients scored below (ties
    count one half); of a negative patient, the share of positive patients scored above. The
    mean AUC over repeats is a U-statistic whose kernel is the mean of the repeats' kernels, so
    that averaged placements give its variance exactly as plain ones give that of a single AUC.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and scores of shape (n,) or (n_repeats, n).

    Returns
    -------
    positive : ndarray of float64, shape (n_positive,)
    negative : ndarray of float64, shape (n_negative,)
        Both have the AUC as their mean.
    """
    upper, lower = np.zeros(patients.n_positive), np.zeros(patients.n_negative)
    for row in patients.scores:
        positive, negative = row[patients.positive], row[~patients.positive]
        upper += _mid_count(np.sort(negative), positive) / len(negative)
        lower += 1.0 - _mid_count(np.sort(positive), negative) / len(positive)
    return upper / len(patients.scores), lower / len(patients.scores)


def _mid_count(ordered: FloatArray, values: FloatArray) -> FloatArray:
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    return (below + up_to) / 2.0


@metric
def bootstrap_auc(
    patients: ScoredPatients,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Estimate:
    """AUC with a stratified patient bootstrap interval; a patient's repeats stay together.

    Every pair of patients is compared once. A resample then is a pair of count vectors around
    that matrix, so all of them are one matrix product; of many patients, sums in sorted order.
    """
    return bootstrap_pairs(
        patients.positive,
        patient_kernel(patients),
        n_samples=n_samples,
        rng=rng,
        confidence=confidence,
    )


def bootstrap_pairs(
    positive: BoolArray,
    kernel: FloatArray | RankedPairs,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the mean of a kernel of pairs, resampling patients inside each label.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    kernel : ndarray of float64 or RankedPairs, shape (n_positive, n_negative)
    n_samples : int
    rng : numpy.random.Generator
    confidence : float
    """

    def statistic(indices: IntArray) -> FloatArray:
        weights = patient_weights(indices, len(positive))
        return resampled_auc(kernel, weights[:, positive], weights[:, ~positive])

    return patient_bootstrap(
        statistic, positive, n_samples=n_samples, rng=rng, confidence=confidence, batched=True
    )


def patient_kernel(patients: ScoredPatients) -> Any:
    """Return the `pair_kernel` of positive and negative patients; its mean is the AUC.

    A `RankedPairs` where pairs are many.
    """
    rows, positive = patients.scores, patients.positive
    if is_many(patients.n_positive, patients.n - patients.n_positive):
        return RankedPairs.of_repeats(rows[:, positive], rows[:, ~positive])
    return pair_kernel(rows[:, positive], rows[:, ~positive])


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


def resampled_auc(
    kernel: FloatArray | RankedPairs, upper: FloatArray, lower: FloatArray
) -> FloatArray:
    """Return the mean of a kernel of pairs in each resample of patients.

    Parameters
    ----------
    kernel : ndarray or RankedPairs, shape (n_upper, n_lower)
    upper, lower : ndarray, shape (b, n_upper) and (b, n_lower)
        How often each patient is drawn; rows add up to n_upper and to n_lower.

    Returns
    -------
    ndarray of float64, shape (b,)
    """
    return np.asarray(pair_sums(kernel, upper, lower) / kernel.size, dtype=np.float64)


def patient_weights(indices: IntArray, n: int) -> FloatArray:
    """Return how often each of n patients is drawn in each row: (b, n) from positions (b, k)."""
    offsets = np.arange(len(indices))[:, None] * n
    counts = np.bincount((indices + offsets).ravel(), minlength=len(indices) * n)
    return counts.reshape(len(indices), n).astype(np.float64)


@metric
def roc_curve(patients: ScoredPatients) -> tuple[FloatArray, FloatArray]:
    """Return the false and true positive rates at every distinct score, from (0, 0) to (1, 1).

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and scores of shape (n,).

    Returns
    -------
    fpr, tpr : ndarray of float64, shape (n_distinct + 1,)
    """
    row, positive = patients.scores[0], patients.positive
    order = np.argsort(-row, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(row[order]) != 0, True))
    true = np.cumsum(positive[order])[ends] / patients.n_positive
    false = np.cumsum(~positive[order])[ends] / patients.n_negative
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


@metric
def mean_roc_curve(patients: ScoredPatients) -> tuple[FloatArray, FloatArray]:
    """Return the mean of the repeats' ROC curves: the mean sensitivity at each specificity.

    Its area is the mean of the repeats' AUC (vertical averaging: Fawcett 2006, Pattern Recogn
    Lett 27:861-874).

    Parameters
    ----------
    patients
        As in `auc`.

    Returns
    -------
    fpr, tpr : ndarray of float64
        From (0, 0) to (1, 1).
    """
    repeats = [dataclasses.replace(patients, scores=row[None]) for row in patients.scores]
    curves = [roc_curve(repeat) for repeat in repeats]
    at = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    ends = [_sensitivity_ends(fpr, tpr, at) for fpr, tpr in curves]
    low, high = np.mean(ends, axis=0)
    points = np.stack([np.repeat(at, 2), np.stack([low, high], axis=1).ravel()])
    kept = np.append(True, (np.diff(points) != 0).any(axis=0))
    return points[0, kept], points[1, kept]


def thinned_curve(fpr: FloatArray, tpr: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return at most `_MAX_POINTS` points of a curve, its ends among them.

    Points are even along the curve, each at most a thousandth from the next one kept.
    """
    if len(fpr) <= _MAX_POINTS:
        return fpr, tpr
    along = fpr + tpr
    wanted = np.linspace(along[0], along[-1], _MAX_POINTS)
    kept = np.unique(np.append(np.searchsorted(along, wanted, side="left"), len(along) - 1))
    return fpr[kept], tpr[kept]


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


@metric
def youden_threshold(patients: ScoredPatients) -> float:
    """Return the threshold with the highest sensitivity + specificity - 1 (Youden 1950).

    A patient is called positive if the score is at or above it.

    Candidates are the midpoints between adjacent distinct scores, so that both labels are
    predicted for somebody. Among equally good ones the most balanced wins (least difference
    between sensitivity and specificity), then the lowest: the choice depends on nothing else.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and scores of shape (n,), of training patients.

    Returns
    -------
    float
        With constant scores: that score, which calls every patient positive.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is not finite.
    """
    row, positive = patients.scores[0], patients.positive
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
