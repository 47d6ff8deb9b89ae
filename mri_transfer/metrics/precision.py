"""How precise figures are at a number of patients, and how many patients a precision takes.

Half-widths are half the length of a confidence interval. Patients are counted as they come: the
share of positive patients is that of the cohort.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.calibration import CLIP
from mri_transfer.metrics.calibration_slope import calibration_slope
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.discrimination import delong_placements
from mri_transfer.metrics.intervals import EXACT, Estimate, exact_proportion, normal_quantile
from mri_transfer.metrics.operating_point import confusion, rates
from mri_transfer.metrics.results import (
    AucPrecision,
    FigurePrecision,
    PatientsNeeded,
    Precision,
)
from mri_transfer.metrics.scored import ScoredPatients, metric

__all__ = [
    "expected_width",
    "patients_for_proportion",
    "patients_for_slope",
    "patients_for_width",
    "precision_summary",
]


#: Beyond this many patients the answer is "not with any cohort".
_MOST = 100_000_000


def expected_width(
    auc: float, n_positive: float, n_negative: float, *, confidence: float = 0.95
) -> float:
    """Return the length of the confidence interval to expect for an AUC.

    The variance of Hanley and McNeil (1982, Radiology 143:29-36), which needs nothing but the
    AUC: it is exact for scores that are exponential in each label, and within some percent for
    normal ones.

    Parameters
    ----------
    auc : float
        Between 0 and 1, both excluded.
    n_positive, n_negative : float
        Patients; need not be whole.
    confidence : float

    Returns
    -------
    float
        Twice the half-width, on the plain scale.

    Raises
    ------
    EvaluationError
        If the AUC or a number of patients is impossible.
    """
    _check_share(auc, "an AUC")
    if not (n_positive > 0 and n_negative > 0):
        raise EvaluationError(
            "an AUC needs patients of both labels",
            found=f"{n_positive:g} positive, {n_negative:g} negative",
        )
    above = auc / (2.0 - auc) - auc**2
    below = 2.0 * auc**2 / (1.0 + auc) - auc**2
    spread = auc * (1.0 - auc) + (n_positive - 1.0) * above + (n_negative - 1.0) * below
    # Below one patient a label the sum can fall under 0; nothing is known there.
    if spread <= 0.0:
        return 1.0
    return 2.0 * normal_quantile(confidence) * math.sqrt(spread / (n_positive * n_negative))


def patients_for_width(
    auc: float, half_width: float, *, share_positive: float, confidence: float = 0.95
) -> int:
    """Return the least number of patients whose expected half-width for an AUC is small enough.

    Parameters
    ----------
    auc : float
        Between 0 and 1, both excluded.
    half_width : float
        Greater than 0.
    share_positive : float
        Between 0 and 1, both excluded. Patients of a label are not rounded.
    confidence : float

    Raises
    ------
    EvaluationError
        If a number is out of range.
    """
    _check_share(auc, "an AUC")
    _check_share(share_positive, "a share of positive patients")
    return _smallest(
        lambda n: (
            expected_width(
                auc, n * share_positive, n * (1.0 - share_positive), confidence=confidence
            )
            / 2.0
        ),
        half_width,
    )


def patients_for_proportion(
    proportion: float, half_width: float, *, share: float = 1.0, confidence: float = 0.95
) -> int:
    """Return the least number of patients for an exact interval of a sensitivity or specificity.

    Parameters
    ----------
    proportion : float
        The expected sensitivity or specificity, 0 to 1.
    half_width : float
        Half the length of the interval of Clopper and Pearson, greater than 0.
    share : float
        Of patients who count: the share of positive ones for a sensitivity, of negative ones for
        a specificity.
    confidence : float

    Returns
    -------
    int
        All patients, of both labels.

    Raises
    ------
    EvaluationError
        If a number is out of range.
    """
    if not 0.0 <= proportion <= 1.0:
        raise EvaluationError("not a proportion", found=f"{proportion:g}", expected="0 to 1")
    if not 0.0 < share <= 1.0:
        raise EvaluationError("not a share of patients", found=f"{share:g}", expected="0 to 1")

    def half(n: int) -> float:
        exact = exact_proportion(proportion * n * share, n * share, confidence=confidence)
        return _half_width(exact) or 0.0

    return _smallest(half, half_width)


def patients_for_slope(
    logits: npt.ArrayLike, half_width: float, *, confidence: float = 0.95
) -> int:
    """Return the least number of patients for a calibration slope, by Riley et al. (2021).

    The Fisher information of the calibration model, averaged over the distribution of logits and
    for a calibrated model (intercept 0, slope 1; Stat Med 40:4230-4251, criterion 2, as in the
    R package pmvalsampsize).

    Parameters
    ----------
    logits : array_like of float
        Log-odds of scores as they are expected among the patients; any shape.
    half_width : float
        Greater than 0; the paper advises 0.1 and less.
    confidence : float

    Raises
    ------
    EvaluationError
        If logits are constant or not finite, or the half-width is not positive.
    """
    from scipy.special import expit

    values = np.asarray(logits, dtype=np.float64).ravel()
    if not (len(values) and np.isfinite(values).all()) or np.ptp(values) < 1e-12:
        raise EvaluationError("a calibration slope needs finite logits that differ")
    weight = expit(values) * expit(-values)
    centre = float(np.average(values, weights=weight))
    information = float((weight * np.square(values - centre)).mean())
    quantile = normal_quantile(confidence)
    return _smallest(lambda n: quantile / math.sqrt(n * information), half_width)


def _check_share(value: float, what: str) -> None:
    if not 0.0 < value < 1.0:
        raise EvaluationError(
            f"not {what}", found=f"{value:g}", expected="more than 0 and less than 1"
        )


def _smallest(half: Callable[[int], float], limit: float) -> int:
    """Return the least n from 2 on with half(n) <= limit, for a function that falls with n."""
    if not (math.isfinite(limit) and limit > 0.0):
        raise EvaluationError("not a half-width", found=f"{limit:g}", expected="more than 0")
    low, high = 1, 2
    while half(high) > limit:
        low, high = high, 2 * high
        if high > _MOST:
            raise EvaluationError(
                "no cohort is large enough for this half-width", found=f"{limit:g}"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if half(middle) <= limit else (middle, high)
    return high


@metric
def precision_summary(
    patients: ScoredPatients,
    *,
    predicted: npt.ArrayLike,
    half_widths: Sequence[float] = (0.05, 0.03, 0.02),
    slope_half_widths: Sequence[float] = (0.3, 0.2, 0.1),
    confidence: float = 0.95,
) -> Precision:
    """Say how precise this cohort's figures are and how many patients would make them more so.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and probabilities of shape (n,) or (n_repeats, n).
    predicted : array_like of {0, 1}, shape (n,) or (n_repeats, n)
        Calls at the threshold.
    half_widths : sequence of float
        For AUC, sensitivity and specificity.
    slope_half_widths : sequence of float
        For the calibration slope, whose unit is another.
    confidence : float

    Returns
    -------
    Precision
        The AUC's entry counts patients twice: by Hanley and McNeil, and by DeLong's variance
        components of this cohort's own scores.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a number is out of range.
    """
    share = float(patients.positive.mean())
    rate = rates(confusion(patients.positive, predicted), confidence=confidence)
    return Precision(
        n=patients.n,
        n_positive=patients.n_positive,
        n_negative=patients.n_negative,
        confidence=confidence,
        auc=_auc_entry(patients, half_widths, confidence),
        sensitivity=_proportion_entry(rate["sensitivity"], share, half_widths, confidence),
        specificity=_proportion_entry(rate["specificity"], 1.0 - share, half_widths, confidence),
        calibration_slope=_slope_entry(patients, slope_half_widths, confidence),
    )


def _half_width(estimate: Estimate) -> float | None:
    ends = estimate.interval
    return None if ends is None else (ends[1] - ends[0]) / 2.0


def _entry(estimate: Estimate, needed: Sequence[PatientsNeeded]) -> FigurePrecision:
    return FigurePrecision(
        value=estimate.value,
        half_width=_half_width(estimate),
        patients=tuple(needed),
        reason=estimate.reason,
    )


def _auc_entry(
    patients: ScoredPatients, half_widths: Sequence[float], confidence: float
) -> AucPrecision:
    estimate = delong_auc(patients, confidence=confidence).estimate
    value, share = float(estimate.value or 0.0), float(patients.positive.mean())
    if not 0.0 < value < 1.0:
        reason = "complete separation says nothing about the spread at other sizes"
        return AucPrecision(
            value=estimate.value,
            half_width=_half_width(estimate),
            patients=(),
            reason=estimate.reason or reason,
            expected_half_width=None,
        )
    n = patients.n
    expected = expected_width(value, share * n, (1.0 - share) * n, confidence=confidence) / 2.0
    needed = [
        PatientsNeeded(
            half_width=half,
            n=patients_for_width(value, half, share_positive=share, confidence=confidence),
            method="Hanley and McNeil",
        )
        for half in half_widths
    ]
    if patients.fewest > 1:
        upper, lower = delong_placements(patients)
        # The variance of n patients is this over n.
        unit = float(upper.var(ddof=1)) / share + float(lower.var(ddof=1)) / (1.0 - share)
        root = normal_quantile(confidence) * math.sqrt(unit)
        needed += [
            PatientsNeeded(half_width=half, n=_by_root(root, half), method="DeLong")
            for half in half_widths
        ]
    return AucPrecision(**dict(_entry(estimate, needed)), expected_half_width=expected)


def _by_root(root: float, half_width: float) -> int:
    return _smallest(lambda n: root / math.sqrt(n), half_width)


def _proportion_entry(
    estimate: Estimate, share: float, half_widths: Sequence[float], confidence: float
) -> FigurePrecision:
    value = float(estimate.value or 0.0)
    needed = [
        PatientsNeeded(
            half_width=half,
            n=patients_for_proportion(value, half, share=share, confidence=confidence),
            method=EXACT,
        )
        for half in half_widths
    ]
    return _entry(estimate, needed)


def _slope_entry(
    patients: ScoredPatients, half_widths: Sequence[float], confidence: float
) -> FigurePrecision:
    from scipy.special import logit

    estimate = calibration_slope(patients, confidence=confidence)
    logits = logit(np.clip(patients.scores, CLIP, 1.0 - CLIP))
    if np.ptp(logits) < 1e-12:
        return _entry(estimate, [])
    needed = [
        PatientsNeeded(
            half_width=half,
            n=patients_for_slope(logits, half, confidence=confidence),
            method="Riley et al. 2021, for a calibrated model",
        )
        for half in half_widths
    ]
    return _entry(estimate, needed)
