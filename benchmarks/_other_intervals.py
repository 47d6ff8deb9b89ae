"""Intervals that the library does not use, for comparison with those that it does."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit

from mri_transfer.metrics.calibration import score_logits
from mri_transfer.metrics.discrimination import patient_weights
from mri_transfer.metrics.intervals import Estimate, normal_quantile, patient_bootstrap

__all__ = ["clustered_wald", "mean_loss", "percentile_precision", "profiled", "wilson"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Interval = tuple[float | None, float | None]

#: Factors on the logits beyond which the likelihood is not followed.
_FARTHEST = 50.0


def wilson(count: float, n: float, *, confidence: float) -> Estimate:
    """Return a proportion with the score interval of Wilson (1927)."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, n, alpha=1.0 - confidence, method="wilson")
    return Estimate(value=count / n, ci_low=float(low), ci_high=float(high), n=n, method="Wilson")


def mean_loss(
    labels: IntArray,
    scores: FloatArray,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> Estimate:
    """Return the Brier score with the percentile bootstrap of patients."""
    losses = np.square(scores - labels).mean(axis=0)
    return patient_bootstrap(
        lambda indices: losses[indices].mean(axis=1),
        labels,
        n_samples=n_samples,
        rng=rng,
        confidence=confidence,
        batched=True,
    )


def percentile_precision(
    labels: IntArray,
    scores: FloatArray,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> Estimate:
    """Return average precision with the percentile bootstrap of patients; scores must not tie."""
    orders = [np.argsort(-row) for row in scores]

    def statistic(indices: IntArray) -> FloatArray:
        weights = patient_weights(indices, len(labels))
        total = np.zeros(len(indices))
        for order in orders:
            drawn = weights[:, order]
            true, flagged = np.cumsum(drawn * labels[order], axis=1), np.cumsum(drawn, axis=1)
            gained = np.diff(true, axis=1, prepend=0.0)
            total += (gained * true / np.maximum(flagged, 1.0)).sum(axis=1) / true[:, -1]
        return total / len(orders)

    return patient_bootstrap(
        statistic, labels, n_samples=n_samples, rng=rng, confidence=confidence, batched=True
    )


def clustered_wald(labels: IntArray, scores: FloatArray, *, confidence: float) -> Interval:
    """Return the calibration slope's interval from the sandwich clustered on patients."""
    import statsmodels.api as sm

    repeats, n = scores.shape
    design = sm.add_constant(score_logits(scores).ravel())
    model = sm.GLM(np.tile(labels, repeats), design, family=sm.families.Binomial())
    groups = np.tile(np.arange(n), repeats)
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": groups}, maxiter=200)
    half = normal_quantile(confidence) * float(fit.bse[1])
    return float(fit.params[1]) - half, float(fit.params[1]) + half


def profiled(
    labels: IntArray, scores: FloatArray, slope: float | None, *, confidence: float
) -> Interval:
    """Return the profile likelihood interval of the calibration slope.

    The log-likelihood is averaged over repeats, so that copies of a patient narrow nothing; like
    every likelihood interval it takes the calibration model for true.
    """
    logits, limit = score_logits(scores), normal_quantile(confidence) ** 2
    if slope is None:
        return None, None

    def loss(factor: float) -> float:
        shift = 0.0
        for _ in range(50):
            chances = expit(shift + factor * logits)
            step = (labels - chances).mean() / (chances * (1.0 - chances)).mean()
            shift += float(np.clip(step, -2.0, 2.0))
            if abs(step) < 1e-7:
                break
        linear = shift + factor * logits
        terms = np.logaddexp(0.0, linear) - labels * linear
        return float(terms.mean(axis=0).sum())

    least, reach = loss(slope), 0.5

    def excess(factor: float) -> float:
        return loss(factor) - least - limit / 2.0

    while min(excess(slope - reach), excess(slope + reach)) < 0.0:
        reach *= 2.0
        if reach > _FARTHEST or not math.isfinite(reach):
            return None, None
    return (
        float(brentq(excess, slope - reach, slope, xtol=1e-3)),
        float(brentq(excess, slope, slope + reach, xtol=1e-3)),
    )
