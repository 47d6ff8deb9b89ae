"""Brier score, calibration intercept and slope, calibration curve."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation import (
    brier,
    calibration_curve,
    calibration_intercept,
    calibration_slope,
)


def expit(x):
    return 1 / (1 + np.exp(-x))


def simulate(n, *, shift=0.0, factor=1.0, seed=0):
    """Draw labels whose true log-odds are shift + factor * logit(score)."""
    rng = np.random.default_rng(seed)
    logits = 1.2 * rng.standard_normal(n)
    labels = (rng.random(n) < expit(shift + factor * logits)).astype(int)
    return labels, expit(logits)


def test_a_calibrated_model_has_intercept_0_and_slope_1():
    labels, scores = simulate(20_000)
    intercept, slope = calibration_intercept(labels, scores), calibration_slope(labels, scores)
    assert intercept.value == pytest.approx(0, abs=0.05)
    assert slope.value == pytest.approx(1, abs=0.06)
    assert intercept.ci_low < 0 < intercept.ci_high
    assert slope.ci_low < 1 < slope.ci_high


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_slope_finds_the_factor_of_the_simulated_model(factor):
    assert calibration_slope(*simulate(20_000, factor=factor)).value == pytest.approx(
        factor, abs=0.07
    )


@pytest.mark.parametrize("shift", [-0.7, 0.4])
def test_intercept_finds_the_shift_of_the_simulated_model(shift):
    assert calibration_intercept(*simulate(20_000, shift=shift)).value == pytest.approx(
        shift, abs=0.06
    )


def test_intercept_has_a_closed_form_for_constant_scores():
    # All scores .5, 30 positives of 40: the shift is the log-odds of .75.
    found = calibration_intercept([1] * 30 + [0] * 10, [0.5] * 40)
    assert found.value == pytest.approx(np.log(3))


def test_repeating_the_same_scores_narrows_nothing():
    labels, scores = simulate(120, seed=3)
    for function in (calibration_intercept, calibration_slope):
        once, thrice = function(labels, scores), function(labels, [scores] * 3)
        assert thrice.value == pytest.approx(once.value)
        assert thrice.ci_high - thrice.ci_low == pytest.approx(once.ci_high - once.ci_low, rel=0.01)
        assert thrice.n == 120


def test_slope_interval_covers_on_140_patients():
    runs, hits = 200, 0
    for seed in range(runs):
        found = calibration_slope(*simulate(140, factor=0.8, seed=seed))
        hits += found.ci_low <= 0.8 <= found.ci_high
    assert 0.90 <= hits / runs <= 0.99


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([0.3] * 6, "constant"),
        ([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], "separate"),
        ([0.9, 0.8, 0.7, 0.3, 0.2, 0.1], "separate"),
        ([0.1, 0.2, 0.5, 0.5, 0.8, 0.9], "separate"),
        ([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], "separate"),
    ],
)
def test_a_slope_that_does_not_exist_is_none_with_a_reason_and_no_warning(scores, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = calibration_slope([0, 0, 0, 1, 1, 1], scores)
        intercept = calibration_intercept([0, 0, 0, 1, 1, 1], scores)
    assert found.value is None
    assert reason in found.reason
    assert intercept.value is not None


def test_saturated_scores_are_clipped_not_infinite():
    labels, scores = simulate(200, seed=4)
    scores[:5] = [0.0, 1.0, 0.0, 1.0, 1.0]
    labels[:5] = [1, 0, 0, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(calibration_slope(labels, scores).value)
        assert np.isfinite(calibration_intercept(labels, scores).value)


def test_calibration_refuses_what_is_no_probability():
    with pytest.raises(EvaluationError, match="probabilities"):
        calibration_slope([0, 1, 0], [0.1, 1.2, 0.4])


def test_brier_by_hand_and_its_interval_holds_the_value():
    rng = np.random.default_rng(0)
    found = brier([1, 0, 0], [[0.8, 0.4, 0.0], [0.6, 0.2, 0.0]], n_samples=200, rng=rng)
    assert found.value == pytest.approx((0.04 + 0.16 + 0 + 0.16 + 0.04 + 0) / 6)
    labels, scores = simulate(140)
    found = brier(labels, scores, n_samples=500, rng=rng)
    assert found.ci_low < found.value < found.ci_high


def test_curve_by_hand():
    labels = [0, 0, 1, 0, 1, 1]
    curve = calibration_curve(labels, [0.1, 0.2, 0.3, 0.6, 0.7, 0.8], n_bins=2)
    assert curve.predicted == pytest.approx((0.2, 0.7))
    assert curve.observed == pytest.approx((1 / 3, 2 / 3))
    assert curve.n == (3.0, 3.0)
    assert all(
        low < value < high
        for low, value, high in zip(curve.ci_low, curve.observed, curve.ci_high, strict=True)
    )


def test_curve_counts_every_patient_once_whatever_ties_and_repeats():
    labels, scores = simulate(140, seed=5)
    rounded = np.round([scores, scores[::-1]], 1)
    curve = calibration_curve(labels, rounded, n_bins=10)
    assert sum(curve.n) == pytest.approx(140)
    assert len(curve.n) <= 10
    assert list(curve.predicted) == sorted(curve.predicted)
    assert calibration_curve(labels, np.full(140, 0.5)).n == (140.0,)
    positives = sum(n * share for n, share in zip(curve.n, curve.observed, strict=True))
    assert positives == pytest.approx(labels.sum())
