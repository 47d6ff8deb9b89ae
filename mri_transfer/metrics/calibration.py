"""Whether a score of 0.7 means 70 patients in 100: Brier score and curve."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.discrimination import check_labels, check_scores
from mri_transfer.metrics.intervals import Estimate, exact_proportion
from mri_transfer.metrics.results import CalibrationCurve
from mri_transfer.metrics.t_intervals import logit_ends, t_quantile, welch_degrees

__all__ = [
    "CLIP",
    "brier",
    "calibration_curve",
    "check_probabilities",
    "score_logits",
]

FloatArray = npt.NDArray[np.float64]

#: Scores are moved into [CLIP, 1 - CLIP] before the logit, which has no value at 0 and 1. A
#: saturated score then counts as odds of a million to one: still as overconfident as it is.
CLIP = 1e-6

#: Patients that a point of the curve stands for, at least.
_MIN_PATIENTS = 5

_BRIER = "Welch's t on the logit"


def brier(labels: npt.ArrayLike, scores: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Mean squared difference of score and label, with Welch's t interval on the logit.

    0 is perfect; always scoring 0.5 gives 0.25 (Brier 1950). The losses of patients are averaged
    over repeats. Each label's mean has a variance of its own, as the numbers of patients a label
    are fixed; few patients make the percentile bootstrap too narrow, and this interval needs
    none.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float in [0, 1], shape (n,) or (n_repeats, n)
    confidence : float

    Returns
    -------
    Estimate
        Without an interval, with a reason, for a label with one patient and where a label's
        patients all lose the same.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is no probability.
    """
    positive, rows = check_probabilities(labels, scores)
    losses = np.square(rows - positive).mean(axis=0)
    n, value = len(losses), float(losses.mean())
    groups = (losses[positive], losses[~positive])
    sizes = [len(group) for group in groups]
    reason = "a variance needs two patients of each label"
    if min(sizes) > 1:
        parts = [len(group) * float(group.var(ddof=1)) / n**2 for group in groups]
        reason = "the patients of each label all lose the same"
        if sum(parts) > 1e-24:
            half = t_quantile(confidence, welch_degrees(parts, sizes)) * math.sqrt(sum(parts))
            low, high = logit_ends(value, half)
            return Estimate(value=value, ci_low=low, ci_high=high, n=n, method=_BRIER)
    return Estimate(value=value, ci_low=None, ci_high=None, n=n, method=_BRIER, reason=reason)


def check_probabilities(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Return labels (n,) as bool and scores as (n_repeats, n), all between 0 and 1.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is no probability.
    """
    positive = check_labels(labels)
    rows = check_scores(scores, len(positive))
    if rows.min() < 0.0 or rows.max() > 1.0:
        raise EvaluationError(
            "calibration needs probabilities",
            found=f"scores from {rows.min():g} to {rows.max():g}",
            expected="0 to 1",
        )
    return positive, rows


def score_logits(rows: FloatArray) -> FloatArray:
    """Return the log-odds of scores, finite at 0 and 1 too (see `CLIP`)."""
    clipped = np.clip(rows, CLIP, 1.0 - CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)


def calibration_curve(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, n_bins: int = 10, confidence: float = 0.95
) -> CalibrationCurve:
    """Bin scores at their quantiles and compare each bin with what was observed.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float in [0, 1], shape (n,) or (n_repeats, n)
        Repeats are binned together and their counts averaged (see `exact_proportion`).
    n_bins : int
        Most bins; there are fewer where scores tie, and where less than 5 patients would be in
        each: a share of two or three patients says nothing.
    confidence : float
    """
    positive, rows = check_probabilities(labels, scores)
    flat, truth = rows.ravel(), np.tile(positive, len(rows))
    n_bins = max(1, min(n_bins, len(positive) // _MIN_PATIENTS))
    inner = np.unique(np.quantile(flat, np.linspace(0.0, 1.0, n_bins + 1)[1:-1]))
    bins = np.searchsorted(inner, flat, side="left")
    columns: list[tuple[float, ...]] = []
    for number in np.unique(bins):
        inside = bins == number
        share = exact_proportion(
            int(truth[inside].sum()) / len(rows),
            int(inside.sum()) / len(rows),
            confidence=confidence,
            averaged=len(rows) > 1,
        )
        # No bin is empty, so that none of these is None.
        numbers = (float(flat[inside].mean()), share.value, share.n, share.ci_low, share.ci_high)
        columns.append(tuple(float(number) for number in numbers if number is not None))
    predicted, observed, n, low, high = zip(*columns, strict=True)
    return CalibrationCurve(predicted=predicted, observed=observed, n=n, ci_low=low, ci_high=high)
