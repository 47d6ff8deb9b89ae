"""Figures of two cohorts that share no patient: how far apart they are.

The interval of a difference is recovered from the intervals of its two parts (Zou and Donner 2008,
Stat Med 27:1693-1702; for proportions Newcombe 1998, Stat Med 17:873-890, method 10), so that a
published figure with its interval is enough: nobody's data have to travel. AUCs are tested with
the variances of DeLong et al. (1988, Biometrics 44:837-845), which add for independent patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mri_transfer.metrics.intervals import Estimate, normal_quantile, undefined

__all__ = ["auc_standard_error", "compare_figures", "independent_difference"]

_METHOD = "recovered from two independent intervals"


def independent_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> Estimate:
    """Return first minus second, two figures of different patients.

    Parameters
    ----------
    first, second : mapping
        Entries of figures: value, ci_low, ci_high, n, and reason where one is missing.

    Returns
    -------
    Estimate
        Undefined, with a reason, if either has no value; without an interval if either has none.
    """
    n = float(first.get("n") or 0) + float(second.get("n") or 0)
    a, b = first.get("value"), second.get("value")
    if a is None or b is None:
        reason = str((first if a is None else second).get("reason") or "one of them is undefined")
        return undefined(reason, n=n, method=_METHOD)
    ends = [entry.get(end) for entry in (first, second) for end in ("ci_low", "ci_high")]
    if None in ends:
        reason = str(first.get("reason") or second.get("reason") or "one has no interval")
        return Estimate(value=a - b, ci_low=None, ci_high=None, n=n, method=_METHOD, reason=reason)
    a_low, a_high, b_low, b_high = (float(end) for end in ends if end is not None)
    return Estimate(
        value=a - b,
        ci_low=a - b - math.hypot(a - a_low, b_high - b),
        ci_high=a - b + math.hypot(a_high - a, b - b_low),
        n=n,
        method=_METHOD,
    )


def auc_standard_error(entry: Mapping[str, Any], *, confidence: float) -> float | None:
    """Return the standard error behind an AUC's interval, which is symmetric on the logit.

    Exact where the interval came from the normal quantile. Where few patients made it one of
    Student's t the error comes out too large, so that a test is cautious. None where the interval
    is missing or was made in another way, as with complete separation.

    Parameters
    ----------
    entry : mapping
        As `delong_auc` makes it.
    confidence : float
        Of the interval.
    """
    value, low, high = (entry.get(name) for name in ("value", "ci_low", "ci_high"))
    if None in (value, low, high) or not all(0.0 < float(x or 0) < 1.0 for x in (value, low, high)):
        return None
    if not str(entry.get("method", "DeLong")).startswith("DeLong"):
        return None
    centre, bottom, top = (float(x or 0) for x in (value, low, high))
    half = (math.log(top / (1.0 - top)) - math.log(bottom / (1.0 - bottom))) / 2.0
    return half * centre * (1.0 - centre) / normal_quantile(confidence)


def compare_figures(
    external: Mapping[str, Mapping[str, Any]],
    internal: Mapping[str, Mapping[str, Any]],
    *,
    confidence: float = 0.95,
) -> list[dict[str, Any]]:
    """Set the figures of a new cohort beside those that were expected.

    Parameters
    ----------
    external, internal : mapping of str to mapping
        Entries of figures by name. Only names in both are compared, in the order of `internal`.
    confidence : float
        Of all intervals.

    Returns
    -------
    list of dict
        figure, external, internal, difference (external minus internal), intervals_overlap (None
        where an interval is missing) and p: two-sided, of the same AUC in both cohorts; None for
        other figures and where it cannot be had.
    """
    rows = []
    for name, expected in internal.items():
        if name not in external:
            continue
        found = external[name]
        rows.append(
            {
                "figure": name,
                "external": dict(found),
                "internal": dict(expected),
                "difference": independent_difference(found, expected).as_dict(),
                "intervals_overlap": _overlap(found, expected),
                "p": _p(found, expected, confidence) if name == "auc" else None,
            }
        )
    return rows


def _overlap(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool | None:
    if None in (entry.get(end) for entry in (first, second) for end in ("ci_low", "ci_high")):
        return None
    return bool(first["ci_low"] <= second["ci_high"] and second["ci_low"] <= first["ci_high"])


def _p(first: Mapping[str, Any], second: Mapping[str, Any], confidence: float) -> float | None:
    errors = [auc_standard_error(entry, confidence=confidence) for entry in (first, second)]
    if errors[0] is None or errors[1] is None:
        return None
    spread = math.hypot(errors[0], errors[1])
    return math.erfc(abs(first["value"] - second["value"]) / spread / math.sqrt(2.0))
