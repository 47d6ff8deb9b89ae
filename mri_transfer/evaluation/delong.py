"""DeLong's variance of an AUC, and the paired difference of two AUCs of the same patients.

E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under two or more
correlated receiver operating characteristic curves: a nonparametric approach", Biometrics 44
(1988) 837-845.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.evaluation.discrimination import delong_placements
from mri_transfer.evaluation.intervals import Estimate, exact_proportion, normal_quantile

__all__ = ["AucDifference", "DelongAuc", "delong_auc", "delong_difference"]

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DelongAuc:
    """An AUC with its DeLong variance (0 where it cannot be had) and interval."""

    estimate: Estimate
    variance: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class AucDifference:
    """A difference of two AUCs, its interval, and the two-sided p value of no difference."""

    estimate: Estimate
    p: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of `evaluation.json`."""
        return {**self.estimate.as_dict(), "p": self.p}


def delong_auc(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, confidence: float = 0.95
) -> DelongAuc:
    """AUC with the variance and interval of DeLong et al. (1988).

    The interval is symmetric on the logit scale and transformed back. On the plain scale the
    nonparametric interval covers too rarely and passes 1 for high AUCs and small samples;
    simulations favour the logit (Qin and Hotilovac 2008, Stat Methods Med Res 17:207-221;
    Kottas, Kuss and Zapf 2014, BMC Med Res Methodol 14:26). With an AUC of exactly 0 or 1 the
    variance is 0 and says nothing: pairing each patient of the smaller label with another of
    the larger gives independent trials, all of them ordered alike, and the exact interval of
    that proportion is reported instead.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float, shape (n,) or (n_repeats, n)
        With several repeats: their mean AUC, with placements averaged over repeats.
    confidence : float

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is not finite.
    """
    positive, negative = delong_placements(labels, scores)
    n = len(positive) + len(negative)
    value = float(positive.mean())
    # Complete separation in every repeat must give exactly 0 or 1, not a rounding error beside it.
    value = float(round(value)) if abs(value - round(value)) < 1e-12 else value
    if min(len(positive), len(negative)) < 2:
        reason = "a variance needs two patients of each label"
        return DelongAuc(estimate=_bare(value, n, reason), variance=0.0)
    variance = float(positive.var(ddof=1) / len(positive) + negative.var(ddof=1) / len(negative))
    if value in (0.0, 1.0):
        return DelongAuc(
            estimate=_separated(value, len(positive), len(negative), confidence), variance=0.0
        )
    if variance < 1e-24:
        return DelongAuc(
            estimate=_bare(value, n, "all placements are equal, as with constant scores"),
            variance=0.0,
        )
    half = normal_quantile(confidence) * math.sqrt(variance) / (value * (1.0 - value))
    centre = math.log(value / (1.0 - value))
    estimate = Estimate(
        value=value,
        ci_low=_expit(centre - half),
        ci_high=_expit(centre + half),
        n=n,
        method="DeLong, logit",
    )
    return DelongAuc(estimate=estimate, variance=variance)


def _bare(value: float, n: int, reason: str) -> Estimate:
    return Estimate(
        value=value, ci_low=None, ci_high=None, n=n, method="DeLong, logit", reason=reason
    )


def _separated(value: float, n_positive: int, n_negative: int, confidence: float) -> Estimate:
    pairs = min(n_positive, n_negative)
    exact = exact_proportion(value * pairs, pairs, confidence=confidence)
    return dataclasses.replace(
        exact,
        n=n_positive + n_negative,
        method="Clopper-Pearson exact over disjoint pairs of patients",
    )


def _expit(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def delong_difference(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    other_scores: npt.ArrayLike,
    *,
    confidence: float = 0.95,
) -> AucDifference:
    """AUC of `scores` minus AUC of `other_scores` on the same patients, paired.

    The difference of two U-statistics of the same patients is again one: its placements are the
    differences of the placements, and its variance holds the covariance of the two AUCs.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores, other_scores : array_like of float, shape (n,) or (n_repeats, n)
        The same patients in the same order. With repeats the mean AUCs are compared.
    confidence : float

    Returns
    -------
    AucDifference
        Wald interval on the plain scale and the p value of the normal test. Scores that order
        patients identically differ by 0 with certainty: interval 0 to 0 and a p value of 1.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is not finite.
    """
    first = delong_placements(labels, scores)
    second = delong_placements(labels, other_scores)
    positive, negative = first[0] - second[0], first[1] - second[1]
    n, method = len(positive) + len(negative), "paired DeLong"
    value = float(first[0].mean() - second[0].mean())
    if min(len(positive), len(negative)) < 2:
        reason = "a variance needs two patients of each label"
        return _without_interval(value, n, reason)
    variance = float(positive.var(ddof=1) / len(positive) + negative.var(ddof=1) / len(negative))
    # Placements are sums of simple fractions: what is left below this is rounding.
    if variance < 1e-24:
        if abs(value) > 1e-12:
            return _without_interval(value, n, "all differences of placements are equal")
        zero = Estimate(value=0.0, ci_low=0.0, ci_high=0.0, n=n, method=method)
        return AucDifference(estimate=zero, p=1.0)
    error = math.sqrt(variance)
    half = normal_quantile(confidence) * error
    estimate = Estimate(value=value, ci_low=value - half, ci_high=value + half, n=n, method=method)
    return AucDifference(estimate=estimate, p=math.erfc(abs(value) / error / math.sqrt(2.0)))


def _without_interval(value: float, n: int, reason: str) -> AucDifference:
    estimate = Estimate(
        value=value, ci_low=None, ci_high=None, n=n, method="paired DeLong", reason=reason
    )
    return AucDifference(estimate=estimate, p=None)
