"""Figures of the stress test's arms with their intervals, over resamples or permutations."""

from __future__ import annotations

import numpy as np

from mri_transfer.core.arrays import FloatArray
from mri_transfer.metrics.intervals import Estimate, undefined, without_interval
from mri_transfer.metrics.t_intervals import t_quantile

__all__ = ["permutation_mean", "resampled_figure"]


_ONE_LABEL = "not every replicate has both labels"
_METHOD = "stratified patient bootstrap, percentile"
#: Share of resamples that may leave a figure undefined before no interval is given.
_MAX_UNDEFINED = 0.05


def resampled_figure(rows: FloatArray, n: int) -> Estimate:
    """Return a figure with the percentiles of its values over resampled patients.

    Parameters
    ----------
    rows : ndarray of float64, shape (1 + n_samples,)
        The patients as they are, then each resample; NaN where undefined.
    n : int
        Patients.
    """
    value, draws = float(rows[0]), rows[1:]
    kept = draws[np.isfinite(draws)]
    if not np.isfinite(value):
        return undefined(_ONE_LABEL, n=n, method=_METHOD)
    reason = None
    if len(kept) < (1 - _MAX_UNDEFINED) * len(draws):
        reason = f"undefined on {len(draws) - len(kept)} of {len(draws)} resamples"
    elif np.ptp(kept) == 0.0:
        reason = "every resample of patients gives the same value"
    low, high = (None, None) if reason else map(float, np.percentile(kept, [2.5, 97.5]))
    return Estimate(value=value, ci_low=low, ci_high=high, n=n, method=_METHOD, reason=reason)


def permutation_mean(values: FloatArray, n: int) -> Estimate:
    """Return the mean over permutations, with the interval of that mean.

    What varies from one permuted figure to the next is who got which label: that, and not who the
    patients are, limits how well the expectation under chance is known.

    Parameters
    ----------
    values : ndarray of float64, shape (n_permutations,)
    n : int
        Patients.
    """
    method = f"mean of {len(values)} permutations, Student's t"
    value, spread = float(values.mean()), float(values.std(ddof=1))
    if not np.isfinite(value):
        return undefined(_ONE_LABEL, n=n, method=method)
    if spread == 0.0:
        reason = "every permutation gives the same value"
        return without_interval(value, reason, n=n, method=method)
    half = t_quantile(0.95, len(values) - 1) * spread / np.sqrt(len(values))
    return Estimate(value=value, ci_low=value - half, ci_high=value + half, n=n, method=method)
