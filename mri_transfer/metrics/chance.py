"""Intervals of figures that are never negative and that chance alone makes larger than 0."""

from __future__ import annotations

import numpy as np

from mri_transfer.core.arrays import FloatArray
from mri_transfer.metrics.intervals import Estimate, without_interval

__all__ = ["CONSTANT", "allow_for_chance", "range_by_chance"]


#: Why there is no interval where resampling changes nothing.
CONSTANT = "every resample of patients gives the same value"


def allow_for_chance(
    value: float,
    draws: FloatArray,
    by_chance: FloatArray,
    *,
    n: int,
    confidence: float,
    of: str,
    bias: float | None = None,
) -> Estimate:
    """Estimate a figure that is never negative and that chance alone makes larger than 0.

    Parameters
    ----------
    value : float
    draws : ndarray of float64, shape (n_samples,)
        The figure on resampled patients.
    by_chance : ndarray of float64, shape (n_samples,)
        The figure where the truth is 0.
    n : int
    confidence : float
    of : str
        What the figure is measured on; opens the estimate's `method`.
    bias : float, optional
        By how much the value is too large on average; by default the mean excess of the draws
        over the value, which fits figures whose bias fades as they grow.

    Returns
    -------
    Estimate
        Its interval is that of percentiles with two changes to the lower limit. It is lowered by
        the mean excess of the draws, which are a sample of a sample, over the value, and by the
        bias of the value itself. And it is 0 where the value is one that chance alone may give.
    """
    method = f"{of}; stratified patient bootstrap, percentile, lower limit freed of bias"
    if np.ptp(draws) < 1e-9:
        return without_interval(float(value), CONSTANT, n=n, method=method)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    excess = max(0.0, float(draws.mean()) - value)
    low -= excess + (excess if bias is None else bias)
    if value <= np.quantile(by_chance, 1.0 - tail):
        low = 0.0
    return Estimate(
        value=float(value),
        ci_low=float(min(max(low, 0.0), value)),
        ci_high=float(max(high, value)),
        n=n,
        method=method,
    )


def range_by_chance(by_chance: FloatArray, *, n: int, confidence: float) -> Estimate:
    """Return the mean and the central range of a figure over labels drawn from the scores."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(by_chance, [tail, 1.0 - tail])
    return Estimate(
        value=float(by_chance.mean()),
        ci_low=float(low),
        ci_high=float(high),
        n=n,
        method="labels drawn from the scores: mean and central range, no interval of this cohort",
    )
