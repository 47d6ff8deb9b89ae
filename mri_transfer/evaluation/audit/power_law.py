"""The inverse power law that learning curves tend to follow, fitted and read beyond the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.evaluation.audit.learning_results import Extrapolation
from mri_transfer.metrics.discrimination import patient_weights, resampled_auc
from mri_transfer.metrics.intervals import patient_bootstrap, undefined

__all__ = ["extrapolate", "fit_power_law", "power_law"]


_METHOD = "a - b n^-c through the sizes, least squares; stratified patient bootstrap, percentile"
#: Three parameters need more points than three.
_MIN_SIZES = 5
#: Resamples: each is a fit of its own.
_MAX_SAMPLES = 500
#: Bounds of a, b and c. Slower than c = 0.1 a curve never levels off within any cohort.
_LOWER, _UPPER = (0.0, 0.0, 0.1), (1.0, np.inf, 2.0)


def power_law(n: npt.ArrayLike, a: float, b: float, c: float) -> FloatArray:
    """Return a - b (n / 100)^-c: a plateau `a`, and `b` below it with 100 patients."""
    return np.asarray(a - b * (np.asarray(n, dtype=np.float64) / 100) ** -c)


def fit_power_law(sizes: npt.ArrayLike, values: npt.ArrayLike) -> tuple[float, float, float] | None:
    """Fit it by least squares, within bounds that an AUC allows.

    Parameters
    ----------
    sizes, values : array_like of float, shape (m,)

    Returns
    -------
    a, b, c : float
        None if the fit does not settle.
    """
    from scipy.optimize import curve_fit

    x, y = np.array(sizes, dtype=np.float64).ravel(), np.array(values, dtype=np.float64).ravel()
    start = (min(float(y.max()) + 0.02, 0.99), 0.05, 0.5)
    try:
        (a, b, c), _ = curve_fit(power_law, x, y, p0=start, bounds=(_LOWER, _UPPER))
    except RuntimeError:
        return None
    return float(a), float(b), float(c)


def extrapolate(
    sizes: Sequence[float],
    kernels: Sequence[FloatArray],
    labels: IntArray,
    *,
    at: float,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Extrapolation:
    """Read a learning curve beyond the data (Mukherjee et al. 2003, J Comput Biol 10:119-142).

    Parameters
    ----------
    sizes : sequence of float, length m
        Training patients.
    kernels : sequence of ndarray, shape (n_positive, n_negative)
        Of each size: the share of heads that rank each pair of test patients rightly.
    labels : ndarray of {0, 1}, shape (n,)
    at : float
        The size to read it at.
    n_samples : int
        Resamples of test patients, at most 500 of which are used.
    rng : numpy.random.Generator
    confidence : float

    Returns
    -------
    Extrapolation
        With the parameters of `power_law`.
    """
    positive = labels == 1

    def aucs(indices: IntArray) -> FloatArray:
        weights = patient_weights(np.atleast_2d(indices), len(labels))
        upper, lower = weights[:, positive], weights[:, ~positive]
        return np.array([resampled_auc(kernel, upper, lower)[0] for kernel in kernels])

    def statistic(indices: IntArray) -> float:
        fitted = fit_power_law(sizes, aucs(indices))
        return float("nan") if fitted is None else float(power_law(at, *fitted))

    n, values = len(labels), aucs(np.arange(len(labels)))
    fitted = fit_power_law(sizes, values) if len(sizes) >= _MIN_SIZES else None
    reason = None
    if len(sizes) < _MIN_SIZES:
        reason = f"{len(sizes)} sizes; {_MIN_SIZES} needed to fit a curve"
    elif fitted is None:
        reason = "no curve could be fitted"
    elif values[-1] <= values[0]:
        reason = "the AUC does not rise with the number of training patients"
    if reason is not None or fitted is None:
        bare = undefined(str(reason), n=n, method=_METHOD)
        return Extrapolation(**dataclasses.asdict(bare), at=at, a=None, b=None, c=None)
    estimate = patient_bootstrap(
        statistic, labels, n_samples=min(n_samples, _MAX_SAMPLES), rng=rng, confidence=confidence
    )
    figure = dataclasses.replace(estimate, method=_METHOD)
    a, b, c = fitted
    return Extrapolation(**dataclasses.asdict(figure), at=at, a=a, b=b, c=c)
