"""Student's t for variances that are estimated from few patients, and intervals on the logit.

A figure whose variance is the sum of two parts, one a label, has neither the normal distribution
nor t with the degrees of freedom of one sample: those of Welch (1947, Biometrika 34:28-35) and
Satterthwaite (1946, Biometrics Bull 2:110-114) stand between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["logit_ends", "t_quantile", "welch_degrees"]


def welch_degrees(parts: Sequence[float], sizes: Sequence[int]) -> float:
    """Return the degrees of freedom of Welch and Satterthwaite.

    Parameters
    ----------
    parts : sequence of float
        What each group adds to the variance; not all 0.
    sizes : sequence of int
        Patients in each group, two or more.
    """
    spread = sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    return float(sum(parts) ** 2 / spread)


def t_quantile(confidence: float, degrees: float) -> float:
    """Return the two-sided quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.5 + confidence / 2.0, degrees))


def logit_ends(value: float, half: float) -> tuple[float, float]:
    """Return the ends of an interval that is symmetric on the logit scale.

    Parameters
    ----------
    value : float
        Between 0 and 1, both excluded.
    half : float
        Half-width on the plain scale; the delta method carries it to the logit.
    """
    from scipy.special import expit, logit

    centre, reach = logit(value), half / (value * (1.0 - value))
    low, high = expit(np.array([centre - reach, centre + reach]))
    return float(low), float(high)
