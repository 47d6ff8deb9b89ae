"""What the Brier score is made of: miscalibration, discrimination, uncertainty.

The decomposition of Dimitriadis, Gneiting and Jordan (2021, PNAS 118:e2016191118; CORP). Scores
are recalibrated by isotonic regression on the same patients. With B the Brier score, C that of the
recalibrated scores and U that of the share of positive patients given to everybody::

    B = miscalibration - discrimination + uncertainty = (B - C) - (U - C) + U

It needs no bins. Miscalibration and discrimination are never negative; both are larger than they
would be on new patients, as the recalibration has seen the labels. What chance makes of
miscalibration is therefore reported beside it, and the intervals allow for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray
from mri_transfer.metrics.calibration import brier, patient_losses
from mri_transfer.metrics.chance import allow_for_chance, range_by_chance
from mri_transfer.metrics.discrimination import patient_weights
from mri_transfer.metrics.intervals import Estimate, patient_bootstrap, resample_patients
from mri_transfer.metrics.scored import ScoredPatients, metric

__all__ = ["brier_decomposition"]


@metric
def brier_decomposition(
    patients: ScoredPatients,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """Split the Brier score, and scale it by that of knowing the share of positives only.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and probabilities of shape (n,) or (n_repeats, n).
        Every repeat is decomposed by itself and the parts averaged.
    n_samples : int
    rng : numpy.random.Generator
    confidence : float

    Returns
    -------
    dict of str to Estimate
        miscalibration (0 is best) and discrimination (0 is worst), with the interval of
        `allow_for_chance`: chance is labels drawn from the scores for the one, permuted labels
        for the other. On 140 patients it covered the truth in 98 to 100 and 94 to 100 per cent
        of simulations. miscalibration_if_calibrated: what chance makes of the first. uncertainty
        (.25 with as many positive as negative patients; without an interval, since resamples
        keep the number of each label). scaled_brier, ``1 - B / U``: 1 is perfect, 0 no better
        than the share of positives given to everybody; may be negative. Its interval is that of
        `brier`.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is no probability.
    """
    positive, rows = patients.positive, patients.probabilities
    losses = patient_losses(patients)
    groups = [np.unique(row, return_inverse=True)[1] for row in rows]
    n, level = len(positive), float(positive.mean() * (1.0 - positive.mean()))
    resampled = resample_patients(positive, n_samples=n_samples, rng=rng)
    best = np.array([_recalibrated_loss(positive, groups, w) for w in _weights(resampled, n)])
    least = _recalibrated_loss(positive, groups, np.ones(n))
    by_chance = _by_chance(positive, rows, groups, n_samples, rng)
    settings: dict[str, Any] = {
        "rng": rng,
        "n_samples": n_samples,
        "confidence": confidence,
        "batched": True,
    }
    parts = {
        "miscalibration": (losses.mean() - least, losses[resampled].mean(axis=1) - best),
        "discrimination": (level - least, level - best),
    }
    return {
        name: allow_for_chance(
            value,
            draws,
            chance,
            n=n,
            confidence=confidence,
            of="isotonic regression",
            # Both parts share the error of the recalibrated loss. Calibrated labels show it.
            bias=float(by_chance[0].mean()),
        )
        for (name, (value, draws)), chance in zip(parts.items(), by_chance, strict=True)
    } | {
        "miscalibration_if_calibrated": range_by_chance(by_chance[0], n=n, confidence=confidence),
        "uncertainty": patient_bootstrap(
            lambda indices: positive[indices].mean(axis=1) * (~positive[indices]).mean(axis=1),
            positive,
            **settings,
        ),
        "scaled_brier": _scaled(brier(patients, confidence=confidence), level),
    }


def _scaled(score: Estimate, level: float) -> Estimate:
    """Return 1 minus the share of a Brier score in that of the share of positives."""

    def scaled(number: float | None) -> float | None:
        return None if number is None else 1.0 - number / level

    return dataclasses.replace(
        score,
        value=scaled(score.value),
        ci_low=scaled(score.ci_high),
        ci_high=scaled(score.ci_low),
    )


def _weights(indices: IntArray, n: int) -> Iterator[FloatArray]:
    for row in indices:
        yield patient_weights(row[None, :], n)[0]


def _by_chance(
    positive: BoolArray,
    rows: FloatArray,
    groups: list[IntArray],
    n_samples: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Return miscalibration of calibrated scores, and discrimination of scores of no use."""
    ones = np.ones(len(positive))
    miscalibration, discrimination = np.empty(n_samples), np.empty(n_samples)
    level = positive.mean() * (1.0 - positive.mean())
    for i in range(n_samples):
        drawn = rng.random(len(positive)) < rows.mean(axis=0)
        loss = float(np.square(rows - drawn).mean())
        miscalibration[i] = loss - _recalibrated_loss(drawn, groups, ones)
        permuted = rng.permutation(positive)
        discrimination[i] = level - _recalibrated_loss(permuted, groups, ones)
    return miscalibration, discrimination


def _recalibrated_loss(positive: BoolArray, groups: list[IntArray], weights: FloatArray) -> float:
    """Return the Brier score after isotonic recalibration, mean over repeats.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    groups : list of ndarray of int64, shape (n,)
        For each repeat the rank of a patient's score; equal scores share one.
    weights : ndarray of float64, shape (n,)
        How often each patient is drawn.
    """
    from scipy.optimize import isotonic_regression

    total = 0.0
    for group in groups:
        drawn = np.bincount(group, weights=weights)
        hits = np.bincount(group, weights=weights * positive)
        drawn, hits = drawn[drawn > 0.0], hits[drawn > 0.0]
        fitted = isotonic_regression(hits / drawn, weights=drawn).x
        total += float((hits * (1.0 - fitted) ** 2 + (drawn - hits) * fitted**2).sum())
    return total / (len(groups) * float(weights.sum()))
