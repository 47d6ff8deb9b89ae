"""The smoothed calibration curve with its band, and how far it lies from the diagonal.

The smoother is a logistic model on a restricted cubic spline of the logit of the score, with three
knots at the quantiles .1, .5 and .9 (Harrell 2015, Regression Modeling Strategies, 2nd ed., sec.
2.4; Austin, Harrell and van Klaveren 2020, Stat Med 39:2714-2742, found such splines to do as well
as loess). Reasons: it stays between 0 and 1, it holds the straight recalibration line of Cox as a
special case, it has no span to choose, and it is stable: in calibrated cohorts of 140 patients the
curve lay .046 off the diagonal by chance, with four knots .054, with five .059, with loess .044.

The distances are those of Austin and Steyerberg (2019, Stat Med 38:4051-4065): ICI, the mean
distance of curve and diagonal over the patients' scores, its median E50, its 90th percentile E90
and its maximum Emax. A distance is never negative, so that chance alone makes all of them larger
than 0. What chance makes is therefore computed and reported beside them, and the intervals allow
for it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.metrics.calibration import score_logits
from mri_transfer.metrics.chance import CONSTANT, allow_for_chance, range_by_chance
from mri_transfer.metrics.discrimination import patient_weights
from mri_transfer.metrics.intervals import Estimate, resample_patients
from mri_transfer.metrics.results import SmoothCurve
from mri_transfer.metrics.scored import ScoredPatients, metric

__all__ = ["smooth_calibration"]


#: Quantiles of the logits at which the knots of the spline lie.
_KNOTS = (0.1, 0.5, 0.9)

#: Penalty on squared coefficients of standardised terms. It moves a curve by less than the third
#: digit, and keeps it finite where a resample separates the labels.
_RIDGE = 1e-4

#: Points at which the curve is given.
_POINTS = 50

#: Entries of a matrix of weights fitted at once; bounds the memory.
_BATCH_ENTRIES = 500_000

_SMOOTHER = "logistic model on a restricted cubic spline of the logit"


@metric
def smooth_calibration(
    patients: ScoredPatients,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> tuple[SmoothCurve, dict[str, Estimate]]:
    """Smooth the observed frequency over the score and measure its distance from the diagonal.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and probabilities of shape (n,) or (n_repeats, n).
        One curve is fitted to the predictions of all repeats; patients are resampled with all of
        theirs.
    n_samples : int
        Resamples of patients, and simulations of calibrated labels.
    rng : numpy.random.Generator
    confidence : float

    Returns
    -------
    curve : SmoothCurve
    distances : dict of str to Estimate
        ici, e50, e90, emax, with the interval of `allow_for_chance`; on 140 patients it covered
        the true ICI in 92 to 99 per cent of simulations, plain percentiles in 0 (calibrated
        scores) to 98. And ici_if_calibrated: mean and central range of the ICI where labels are
        drawn from the scores themselves, a patient's with the mean of its repeats.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is no probability.
    """
    positive, rows = patients.positive, patients.probabilities
    smoother = _Smoother.of(rows)
    flat = rows.ravel()
    grid = np.unique(np.linspace(flat.min(), flat.max(), _POINTS))
    terms, points = smoother.terms(flat), smoother.terms(grid)
    truth = positive[None, :].astype(np.float64)
    everybody = np.arange(len(positive))[None, :]
    coefficients = _fit(terms, truth, everybody)
    values = _distances(_curve(coefficients, terms), rows, everybody)[0]

    resampled = resample_patients(positive, n_samples=n_samples, rng=rng)
    drawn, curves = [], []
    for part in _batches(resampled, flat.size):
        fitted = _fit(terms, truth, part)
        drawn.append(_distances(_curve(fitted, terms), rows, part))
        curves.append(_curve(fitted, points))
    by_chance = _by_chance(terms, rows, n_samples, rng)
    n, draws = len(positive), np.concatenate(drawn)
    distances = {
        name: allow_for_chance(
            values[i], draws[:, i], by_chance[:, i], n=n, confidence=confidence, of=_SMOOTHER
        )
        for i, name in enumerate(("ici", "e50", "e90", "emax"))
    }
    distances["ici_if_calibrated"] = range_by_chance(by_chance[:, 0], n=n, confidence=confidence)
    band = np.concatenate(curves)
    return _with_band(grid, _curve(coefficients, points)[0], band, n_samples, confidence), distances


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Smoother:
    """The terms of the spline, standardised; fewer where the scores hardly differ."""

    knots: FloatArray | None
    n_terms: int
    centre: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, rows: FloatArray) -> _Smoother:
        logits = score_logits(rows).ravel()
        knots = np.quantile(logits, _KNOTS)
        raw = _spline(logits, knots if (np.diff(knots) > 1e-9).all() else None)
        scale = raw.std(axis=0)
        n_terms = int((scale > 1e-9).cumprod().sum())
        return cls(
            knots=knots if raw.shape[1] > 1 else None,
            n_terms=n_terms,
            centre=raw.mean(axis=0)[:n_terms],
            scale=scale[:n_terms],
        )

    def terms(self, scores: FloatArray) -> FloatArray:
        """Return a column of ones and the terms at some scores, shape (m, 1 + n_terms)."""
        raw = _spline(score_logits(scores), self.knots)[:, : self.n_terms]
        return np.column_stack([np.ones(len(raw)), (raw - self.centre) / self.scale])


def _spline(x: FloatArray, knots: FloatArray | None) -> FloatArray:
    """Return the linear and, with three knots, the curved term of a restricted cubic spline."""
    if knots is None:
        return x[:, None]
    first, middle, last = knots
    cubes = [np.clip(x - knot, 0.0, None) ** 3 for knot in knots]
    curved = (
        cubes[0]
        - cubes[1] * (last - first) / (last - middle)
        + cubes[2] * (middle - first) / (last - middle)
    )
    return np.column_stack([x, curved / (last - first) ** 2])


def _curve(coefficients: FloatArray, terms: FloatArray) -> FloatArray:
    from scipy.special import expit

    return np.asarray(expit(coefficients @ terms.T), dtype=np.float64)


def _fit(terms: FloatArray, truth: FloatArray, indices: IntArray) -> FloatArray:
    """Fit the logistic model to each resample of patients, by Newton's method.

    Parameters
    ----------
    terms : ndarray, shape (n_repeats * n, k)
    truth : ndarray of {0., 1.}, shape (1, n) or (b, n)
    indices : ndarray of int64, shape (1, n) or (b, n)
        Positions of the patients drawn.

    Returns
    -------
    ndarray, shape (b, k)
    """
    n = indices.shape[1]
    repeats, k = len(terms) // n, terms.shape[1]
    weights = np.tile(patient_weights(indices, n), repeats)
    outcome = np.tile(truth, repeats)
    products = (terms[:, :, None] * terms[:, None, :]).reshape(len(terms), k * k)

    def objective(beta: FloatArray) -> FloatArray:
        eta = beta @ terms.T
        gain = (weights * (outcome * eta - np.logaddexp(0.0, eta))).sum(axis=1)
        return np.asarray(gain - 0.5 * _RIDGE * (beta**2).sum(axis=1))

    beta = np.zeros((max(len(weights), len(outcome)), k))
    height = objective(beta)
    for _ in range(100):
        p = _curve(beta, terms)
        gradient = (weights * (outcome - p)) @ terms - _RIDGE * beta
        hessian = ((weights * p * (1.0 - p)) @ products).reshape(-1, k, k) + _RIDGE * np.eye(k)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        for _ in range(30):
            # A step too long, which only nearly separated labels bring about, is halved.
            new = objective(beta + step)
            worse = new < height - 1e-9
            if not worse.any():
                break
            step[worse] /= 2.0
        beta, height = beta + step, new
        if np.abs(step).max() < 1e-6:
            break
    return beta


def _distances(curves: FloatArray, rows: FloatArray, indices: IntArray) -> FloatArray:
    """Return ICI, E50, E90 and Emax over the patients drawn, shape (b, 4)."""
    gaps = np.abs(curves.reshape(-1, *rows.shape) - rows)
    own = np.take_along_axis(gaps, indices[:, None, :], axis=2).reshape(len(gaps), -1)
    middle, high = np.quantile(own, [0.5, 0.9], axis=1)
    return np.column_stack([own.mean(axis=1), middle, high, own.max(axis=1)])


def _by_chance(
    terms: FloatArray, rows: FloatArray, n_samples: int, rng: np.random.Generator
) -> FloatArray:
    """Return the distances that labels drawn from the scores give, shape (n_samples, 4)."""
    everybody = np.tile(np.arange(rows.shape[1]), (n_samples, 1))
    distances = []
    for part in _batches(everybody, rows.size):
        truth = (rng.random(part.shape) < rows.mean(axis=0)).astype(np.float64)
        distances.append(_distances(_curve(_fit(terms, truth, part), terms), rows, part))
    return np.concatenate(distances)


def _batches(indices: IntArray, width: int) -> list[IntArray]:
    step = max(1, _BATCH_ENTRIES // width)
    return [indices[start : start + step] for start in range(0, len(indices), step)]


def _with_band(
    grid: FloatArray, observed: FloatArray, band: FloatArray, n_samples: int, confidence: float
) -> SmoothCurve:
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(band, [tail, 1.0 - tail], axis=0)
    flat = np.ptp(band) < 1e-9
    return SmoothCurve(
        predicted=tuple(grid.tolist()),
        observed=tuple(observed.tolist()),
        ci_low=None if flat else tuple(low.tolist()),
        ci_high=None if flat else tuple(high.tolist()),
        method=f"{_SMOOTHER}; band: percentile of {n_samples} stratified resamples of patients",
        reason=CONSTANT if flat else None,
    )
