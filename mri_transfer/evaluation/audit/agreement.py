"""Agreement of repeated measurements of the same patients: intraclass correlation and limits."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from mri_transfer.metrics.intervals import Estimate, normal_quantile, undefined, without_interval

__all__ = ["MeanSquares", "icc_absolute", "icc_one_way", "limits_of_agreement"]

_ICC_METHOD = "analysis of variance, F (Shrout and Fleiss)"
_LIMITS_METHOD = "normal differences, exact by noncentral t (Carkeet)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanSquares:
    """Mean squares of the two-way analysis of variance of patients by sessions.

    Attributes
    ----------
    patients, sessions, residual : float
    n, k : int
        Patients and sessions a patient.
    """

    patients: float
    sessions: float
    residual: float
    n: int
    k: int

    @property
    def within(self) -> float:
        """Mean square within patients: sessions and residual together."""
        squares = (self.k - 1) * self.sessions + (self.k - 1) * (self.n - 1) * self.residual
        return squares / (self.n * (self.k - 1))

    @classmethod
    def of(cls, scores: npt.ArrayLike) -> MeanSquares:
        """Compute them.

        Parameters
        ----------
        scores : array_like of float, shape (n, k) or (n_repeats, n, k)
            With repeats, the mean of the repeats' mean squares.
        """
        values = np.asarray(scores, dtype=np.float64)
        values = values[None] if values.ndim == 2 else values
        _, n, k = values.shape
        grand = values.mean(axis=(1, 2), keepdims=True)
        rows, columns = values.mean(axis=2, keepdims=True), values.mean(axis=1, keepdims=True)
        repeats = len(values)
        residual = np.square(values - rows - columns + grand).sum() / repeats
        return cls(
            patients=float(k * np.square(rows - grand).sum() / repeats / (n - 1)),
            sessions=float(n * np.square(columns - grand).sum() / repeats / (k - 1)),
            residual=float(residual / ((n - 1) * (k - 1))),
            n=n,
            k=k,
        )


def icc_one_way(squares: MeanSquares, *, confidence: float = 0.95) -> Estimate:
    """Intraclass correlation ICC(1,1): sessions have no order (Shrout and Fleiss 1979).

    Psychol Bull 86:420-428. Below 0 where patients differ less than their own sessions do.
    """
    from scipy.stats import f

    n, k = squares.n, squares.k
    if squares.patients + squares.within <= 0:
        return undefined("all scores are the same", n=n, method=_ICC_METHOD)
    value = (squares.patients - squares.within) / (squares.patients + (k - 1) * squares.within)
    if squares.within <= 0:
        reason = "the sessions of every patient give the same score"
        return without_interval(value, reason, n=n, method=_ICC_METHOD)
    ratio, upper = squares.patients / squares.within, 0.5 + confidence / 2
    low = ratio / f.ppf(upper, n - 1, n * (k - 1))
    high = ratio * f.ppf(upper, n * (k - 1), n - 1)
    return Estimate(
        value=value,
        ci_low=float((low - 1) / (low + k - 1)),
        ci_high=float((high - 1) / (high + k - 1)),
        n=n,
        method=_ICC_METHOD,
    )


def icc_absolute(squares: MeanSquares, *, confidence: float = 0.95) -> Estimate:
    """Intraclass correlation ICC(2,1): a shift from one session to the next is disagreement.

    Shrout and Fleiss 1979, Psychol Bull 86:420-428; the interval has Satterthwaite's degrees of
    freedom, as there and in McGraw and Wong 1996, Psychol Methods 1:30-46.
    """
    from scipy.stats import f

    n, k = squares.n, squares.k
    between, sessions, residual = squares.patients, squares.sessions, squares.residual
    spread = between + (k - 1) * residual + k * (sessions - residual) / n
    if spread <= 0:
        return undefined("all scores are the same", n=n, method=_ICC_METHOD)
    value = (between - residual) / spread
    if residual <= 0 or not value < 1:
        reason = "sessions differ by a constant at most"
        return without_interval(value, reason, n=n, method=_ICC_METHOD)
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    freedom = (a * sessions + b * residual) ** 2 / (
        (a * sessions) ** 2 / (k - 1) + (b * residual) ** 2 / ((n - 1) * (k - 1))
    )
    upper = 0.5 + confidence / 2
    low, high = f.ppf(upper, n - 1, freedom), f.ppf(upper, freedom, n - 1)
    noise = k * sessions + (k * n - k - n) * residual
    return Estimate(
        value=value,
        ci_low=float(n * (between - low * residual) / (low * noise + n * between)),
        ci_high=float(n * (high * between - residual) / (noise + n * high * between)),
        n=n,
        method=_ICC_METHOD,
    )


def limits_of_agreement(
    differences: npt.ArrayLike, *, confidence: float = 0.95
) -> dict[str, Estimate]:
    """Mean difference, and the limits that hold 95 % of differences (Bland and Altman 1986).

    Lancet 327:307-310. The intervals of the limits are exact for normal differences, which
    matters with few patients (Carkeet 2015, Optom Vis Sci 92:e71-e80).

    Parameters
    ----------
    differences : array_like of float, shape (n,) or (n_repeats, n)
        Second session minus first. With repeats, mean and variance are averaged over them.
    confidence : float
        Of the intervals; the limits are always those of 95 %.

    Returns
    -------
    dict of str to Estimate
        mean_difference, lower_limit and upper_limit.
    """
    from scipy.stats import nct, t

    rows = np.atleast_2d(np.asarray(differences, dtype=np.float64))
    n, mean = rows.shape[1], float(rows.mean())
    deviation = math.sqrt(float(rows.var(axis=1, ddof=1).mean()))
    error, z = deviation / math.sqrt(n), normal_quantile(0.95)
    tails = np.array([0.5 - confidence / 2, 0.5 + confidence / 2])
    around = {
        "mean_difference": (mean, t.ppf(tails, n - 1)),
        "upper_limit": (mean + z * deviation, nct.ppf(tails, n - 1, z * math.sqrt(n))),
    }
    around["lower_limit"] = (mean - z * deviation, -around["upper_limit"][1][::-1])
    same = "every patient's sessions differ by the same"
    return {
        name: Estimate(
            value=value,
            ci_low=float(mean + quantiles[0] * error) if deviation else None,
            ci_high=float(mean + quantiles[1] * error) if deviation else None,
            n=n,
            method=_LIMITS_METHOD,
            reason=None if deviation else same,
        )
        for name, (value, quantiles) in around.items()
    }
