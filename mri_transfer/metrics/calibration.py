"""Whether a score of 0.7 means 70 patients in 100: Brier score and curve."""

from __future__ import annotations

import math

import numpy as np

from mri_transfer.core.arrays import FloatArray
from mri_transfer.metrics.intervals import Estimate, exact_proportion, without_interval
from mri_transfer.metrics.results import CalibrationCurve
from mri_transfer.metrics.scored import ScoredPatients, metric
from mri_transfer.metrics.t_intervals import logit_ends, t_quantile, welch_degrees

__all__ = [
    "CLIP",
    "brier",
    "calibration_curve",
    "patient_losses",
    "score_logits",
]


#: Scores are moved into [CLIP, 1 - CLIP] before the logit, which has no value at 0 and 1. A
#: saturated score then counts as odds of a million to one: still as overconfident as it is.
CLIP = 1e-6

#: Patients that a point of the curve stands for, at least.
_MIN_PATIENTS = 5

_BRIER = "Welch's t on the logit"


@metric
def brier(patients: ScoredPatients, *, confidence: float = 0.95) -> Estimate:
    """Mean squared difference of score and label, with Welch's t interval on the logit.

    0 is perfect; always scoring 0.5 gives 0.25 (Brier 1950). The losses of patients are averaged
    over repeats. Each label's mean has a variance of its own, as the numbers of patients a label
    are fixed; few patients make the percentile bootstrap too narrow, and this interval needs
    none.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and probabilities of shape (n,) or (n_repeats, n).
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
    positive, losses = patients.positive, patient_losses(patients)
    n, value = patients.n, float(losses.mean())
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
    return without_interval(value, reason, n=n, method=_BRIER)


def patient_losses(patients: ScoredPatients) -> FloatArray:
    """Return each patient's squared difference of score and label, mean over repeats, (n,)."""
    squares = np.square(patients.probabilities - patients.positive)
    return np.asarray(squares.mean(axis=0), dtype=np.float64)


def score_logits(rows: FloatArray) -> FloatArray:
    """Return the log-odds of scores, finite at 0 and 1 too (see `CLIP`)."""
    clipped = np.clip(rows, CLIP, 1.0 - CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)


@metric
def calibration_curve(
    patients: ScoredPatients, *, n_bins: int = 10, confidence: float = 0.95
) -> CalibrationCurve:
    """Bin scores at their quantiles and compare each bin with what was observed.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and probabilities of shape (n,) or (n_repeats, n).
        Repeats are binned together and their counts averaged (see `exact_proportion`).
    n_bins : int
        Most bins; there are fewer where scores tie, and where less than 5 patients would be in
        each: a share of two or three patients says nothing.
    confidence : float
    """
    rows = patients.probabilities
    flat, truth = rows.ravel(), np.tile(patients.positive, len(rows))
    n_bins = max(1, min(n_bins, patients.n // _MIN_PATIENTS))
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
