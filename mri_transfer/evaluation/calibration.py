"""Whether a score of 0.7 means 70 patients in 100: Brier score, intercept, slope and curve.

The recalibration models are those of Cox (1958, Biometrika 45:562-565): intercept from a logistic
model with the logit of the score as offset (0 is right; below 0, scores are too high), slope from
a logistic model on that logit (1 is right; below 1, scores are too extreme).
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.discrimination import check_labels, check_scores
from mri_transfer.evaluation.intervals import (
    Estimate,
    exact_proportion,
    normal_quantile,
    patient_bootstrap,
    undefined,
)

__all__ = [
    "CLIP",
    "CalibrationCurve",
    "brier",
    "calibration_curve",
    "calibration_intercept",
    "calibration_slope",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Scores are moved into [CLIP, 1 - CLIP] before the logit, which has no value at 0 and 1. A
#: saturated score then counts as odds of a million to one: still as overconfident as it is.
CLIP = 1e-6

_METHOD = "logistic model, Wald interval clustered on patients"


def brier(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Estimate:
    """Mean squared difference of score and label, with a patient bootstrap interval.

    0 is perfect; always scoring 0.5 gives 0.25 (Brier 1950).

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float in [0, 1], shape (n,) or (n_repeats, n)
    n_samples : int
    rng : numpy.random.Generator
    confidence : float
    """
    positive, rows = _checked(labels, scores)
    losses = np.square(rows - positive).mean(axis=0)
    return patient_bootstrap(
        lambda indices: losses[indices].mean(axis=1),
        positive,
        n_samples=n_samples,
        rng=rng,
        confidence=confidence,
        batched=True,
    )


def calibration_intercept(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Calibration in the large: the shift of all logits that fits the observed frequency.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float in [0, 1], shape (n,) or (n_repeats, n)
        One model is fitted to the predictions of all repeats; its covariance is clustered on
        patients, so that repeats don't narrow the interval.
    confidence : float

    Returns
    -------
    Estimate
    """
    positive, rows = _checked(labels, scores)
    logits = _logit(rows)
    return _fit(positive, np.ones((rows.size, 1)), rows.shape, logits.ravel(), confidence)


def calibration_slope(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Calibration slope: the factor on all logits that fits the observed frequencies.

    Parameters
    ----------
    labels, scores, confidence
        As in `calibration_intercept`.

    Returns
    -------
    Estimate
        Undefined, with a reason, for constant scores and for scores that separate the labels.
    """
    positive, rows = _checked(labels, scores)
    logits = _logit(rows)
    n = len(positive)
    if np.ptp(logits) == 0.0:
        return undefined("the scores are constant", n=n, method=_METHOD)
    upper, lower = logits[:, positive], logits[:, ~positive]
    if upper.min() >= lower.max() or lower.min() >= upper.max():
        reason = "the scores separate the labels completely, so that no finite slope fits"
        return undefined(reason, n=n, method=_METHOD)
    design = np.column_stack([np.ones(rows.size), logits.ravel()])
    return _fit(positive, design, rows.shape, None, confidence)


def _checked(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    positive = check_labels(labels)
    rows = check_scores(scores, len(positive))
    if rows.min() < 0.0 or rows.max() > 1.0:
        raise EvaluationError(
            "calibration needs probabilities",
            found=f"scores from {rows.min():g} to {rows.max():g}",
            expected="0 to 1",
        )
    return positive, rows


def _logit(rows: FloatArray) -> FloatArray:
    clipped = np.clip(rows, CLIP, 1.0 - CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)


def _fit(
    positive: npt.NDArray[np.bool_],
    design: FloatArray,
    shape: tuple[int, ...],
    offset: FloatArray | None,
    confidence: float,
) -> Estimate:
    """Fit the logistic model and report its last coefficient."""
    import statsmodels.api as sm

    repeats, n = shape
    model = sm.GLM(
        np.tile(positive.astype(np.float64), repeats),
        design,
        family=sm.families.Binomial(),
        offset=offset,
    )
    patients = np.tile(np.arange(n), repeats)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = model.fit(cov_type="cluster", cov_kwds={"groups": patients}, maxiter=200)
        value, error = float(result.params[-1]), float(result.bse[-1])
        failed = not (result.converged and math.isfinite(value) and math.isfinite(error))
    except (np.linalg.LinAlgError, ValueError, FloatingPointError):
        failed = True
    if failed:
        return undefined("the calibration model did not converge", n=n, method=_METHOD)
    half = normal_quantile(confidence) * error
    return Estimate(value=value, ci_low=value - half, ci_high=value + half, n=n, method=_METHOD)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationCurve:
    """Observed frequency against mean score in bins of similar scores.

    Every attribute has one entry a bin, in rising order of score.

    Attributes
    ----------
    predicted, observed : tuple of float
        Mean score; share of positive patients.
    n : tuple of float
        Patients in the bin, averaged over repeats.
    ci_low, ci_high : tuple of float
        Exact interval of `observed`.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    n: tuple[float, ...]
    ci_low: tuple[float, ...]
    ci_high: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of `evaluation.json`."""
        return {name: list(values) for name, values in dataclasses.asdict(self).items()}


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
        Bins asked for; fewer come back where scores tie.
    confidence : float
    """
    positive, rows = _checked(labels, scores)
    flat, truth = rows.ravel(), np.tile(positive, len(rows))
    inner = np.unique(np.quantile(flat, np.linspace(0.0, 1.0, n_bins + 1)[1:-1]))
    bins = np.searchsorted(inner, flat, side="left")
    columns: list[tuple[float, ...]] = []
    for number in np.unique(bins):
        inside = bins == number
        share = exact_proportion(
            int(truth[inside].sum()) / len(rows),
            int(inside.sum()) / len(rows),
            confidence=confidence,
        )
        # No bin is empty, so that none of these is None.
        numbers = (float(flat[inside].mean()), share.value, share.n, share.ci_low, share.ci_high)
        columns.append(tuple(float(number) for number in numbers if number is not None))
    predicted, observed, n, low, high = zip(*columns, strict=True)
    return CalibrationCurve(predicted=predicted, observed=observed, n=n, ci_low=low, ci_high=high)
