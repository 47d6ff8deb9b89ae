"""Figures of two cohorts that share no patient: how far apart they are.

The interval of a difference is recovered from the intervals of its two parts (Zou and Donner 2008,
Stat Med 27:1693-1702; for proportions Newcombe 1998, Stat Med 17:873-890, method 10), so that a
published figure with its interval is enough: nobody's data have to travel. AUCs are tested with
the variances of DeLong et al. (1988, Biometrics 44:837-845), which add for independent patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from mri_transfer.metrics.intervals import Estimate, normal_quantile, undefined, without_interval
from mri_transfer.metrics.results import ExternalFigure

__all__ = ["auc_standard_error", "compare_figures", "independent_difference"]

_METHOD = "recovered from two independent intervals"


def independent_difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first minus second, two figures of different patients.

    Returns
    -------
    Estimate
        Undefined, with a reason, if either has no value; without an interval if either has none.
    """
    n, a, b = first.n + second.n, first.value, second.value
    if a is None or b is None:
        return undefined(str((first if a is None else second).reason), n=n, method=_METHOD)
    if first.interval is None or second.interval is None:
        reason = str(first.reason or second.reason)
        return without_interval(a - b, reason, n=n, method=_METHOD)
    (a_low, a_high), (b_low, b_high) = first.interval, second.interval
    return Estimate(
        value=a - b,
        ci_low=a - b - math.hypot(a - a_low, b_high - b),
        ci_high=a - b + math.hypot(a_high - a, b - b_low),
        n=n,
        method=_METHOD,
    )


def auc_standard_error(area: Estimate, *, confidence: float) -> float | None:
    """Return the standard error behind an AUC's interval, which is symmetric on the logit.

    Exact where the interval came from the normal quantile. Where few patients made it one of
    Student's t the error comes out too large, so that a test is cautious. None where the interval
    is missing or was made in another way, as with complete separation.

    Parameters
    ----------
    area : Estimate
        As `delong_auc` makes it.
    confidence : float
        Of the interval.
    """
    if area.value is None or area.interval is None or not area.method.startswith("DeLong"):
        return None
    bottom, top = area.interval
    if not all(0.0 < end < 1.0 for end in (area.value, bottom, top)):
        return None
    half = (math.log(top / (1.0 - top)) - math.log(bottom / (1.0 - bottom))) / 2.0
    return half * area.value * (1.0 - area.value) / normal_quantile(confidence)


def compare_figures(
    external: Mapping[str, Estimate],
    internal: Mapping[str, Estimate],
    *,
    confidence: float = 0.95,
) -> tuple[ExternalFigure, ...]:
    """Set the figures of a new cohort beside those that were expected.

    Parameters
    ----------
    external, internal : mapping of str to Estimate
        Only names in both are compared, in the order of `internal`.
    confidence : float
        Of all intervals.
    """
    return tuple(
        ExternalFigure(
            figure=name,
            external=external[name],
            internal=expected,
            difference=independent_difference(external[name], expected),
            intervals_overlap=_overlap(external[name], expected),
            p=_p(external[name], expected, confidence) if name == "auc" else None,
        )
        for name, expected in internal.items()
        if name in external
    )


def _overlap(first: Estimate, second: Estimate) -> bool | None:
    if first.interval is None or second.interval is None:
        return None
    return first.interval[0] <= second.interval[1] and second.interval[0] <= first.interval[1]


def _p(first: Estimate, second: Estimate, confidence: float) -> float | None:
    errors = [auc_standard_error(area, confidence=confidence) for area in (first, second)]
    if errors[0] is None or errors[1] is None or first.value is None or second.value is None:
        return None
    spread = math.hypot(errors[0], errors[1])
    return math.erfc(abs(first.value - second.value) / spread / math.sqrt(2.0))
