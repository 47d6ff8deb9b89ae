"""Calibration intercept and slope."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.special import expit

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.calibration_slope import calibration_intercept, calibration_slope
from tests.synthetic import labels_of_logits


def test_a_calibrated_model_has_intercept_0_and_slope_1():
    labels, scores = labels_of_logits(20_000)
    intercept, slope = calibration_intercept(labels, scores), calibration_slope(labels, scores)
    assert intercept.value == pytest.approx(0, abs=0.05)
    assert slope.value == pytest.approx(1, abs=0.06)
    assert intercept.ci_low < 0 < intercept.ci_high
    assert slope.ci_low < 1 < slope.ci_high


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_slope_finds_the_factor_of_the_simulated_model(factor):
    assert calibration_slope(*labels_of_logits(20_000, factor=factor)).value == pytest.approx(
        factor, abs=0.07
    )


@pytest.mark.parametrize("shift", [-0.7, 0.4])
def test_intercept_finds_the_shift_of_the_simulated_model(shift):
    assert calibration_intercept(*labels_of_logits(20_000, shift=shift)).value == pytest.approx(
        shift, abs=0.06
    )


def test_intercept_has_a_closed_form_for_constant_scores():
    # All scores .5, 30 positives of 40: the shift is the log-odds of .75.
    found = calibration_intercept([1] * 30 + [0] * 10, [0.5] * 40)
    assert found.value == pytest.approx(np.log(3))


def test_repeating_the_same_scores_narrows_nothing():
    labels, scores = labels_of_logits(120, seed=3)
    for function in (calibration_intercept, calibration_slope):
        once, thrice = function(labels, scores), function(labels, [scores] * 3)
        assert thrice.value == pytest.approx(once.value)
        assert thrice.ci_high - thrice.ci_low == pytest.approx(once.ci_high - once.ci_low, rel=1e-6)
        assert thrice.n == 120


def test_slope_interval_covers_on_140_patients():
    runs, hits = 200, 0
    for seed in range(runs):
        found = calibration_slope(*labels_of_logits(140, factor=0.8, seed=seed))
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
    labels, scores = labels_of_logits(200, seed=4)
    scores[:5] = [0.0, 1.0, 0.0, 1.0, 1.0]
    labels[:5] = [1, 0, 0, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(calibration_slope(labels, scores).value)
        assert np.isfinite(calibration_intercept(labels, scores).value)


def slow_error(labels, logits, offset):
    """Leave every patient out by one step of Newton's method, written out with loops."""
    repeats, n = logits.shape

    def rows(patients):
        for repeat in range(repeats):
            for i in patients:
                x = logits[repeat, i]
                terms = np.array([1.0]) if offset else np.array([1.0, x])
                yield terms, labels[i], x if offset else 0.0

    design, outcome, base = (np.array(part) for part in zip(*rows(range(n)), strict=True))
    family = sm.families.Binomial()
    beta = sm.GLM(outcome, design, family=family, offset=base).fit().params
    moved = []
    for out in range(n):
        score, information = np.zeros(len(beta)), np.zeros((len(beta), len(beta)))
        for x, y, shift in rows([i for i in range(n) if i != out]):
            chance = expit(x @ beta + shift)
            score += x * (y - chance)
            information += np.outer(x, x) * chance * (1 - chance)
        moved.append(np.linalg.solve(information, score)[-1])
    return beta[-1], math.sqrt((n - 1) / n * np.sum(np.square(moved)))


@pytest.mark.parametrize("offset", [True, False])
def test_the_interval_is_the_jackknife_of_patients_with_students_t(offset):
    rng = np.random.default_rng(6)
    labels, scores = labels_of_logits(25, seed=6)
    logits = np.log(scores / (1 - scores)) + 0.4 * rng.standard_normal((2, 25))
    function = calibration_intercept if offset else calibration_slope
    found = function(labels, expit(logits), confidence=0.9)
    value, error = slow_error(labels, logits, offset)
    half = stats.t.ppf(0.95, 24 if offset else 23) * error
    assert found.value == pytest.approx(value)
    assert found.ci_high == pytest.approx(value + half, rel=1e-5)
    assert found.ci_low == pytest.approx(value - half, rel=1e-5)


def test_many_patients_have_the_interval_of_the_model():
    labels, scores = labels_of_logits(20_000, seed=7)
    found = calibration_slope(labels, scores)
    design = sm.add_constant(np.log(scores / (1 - scores)))
    error = sm.Logit(labels, design).fit(disp=False).bse[1]
    assert found.ci_high - found.value == pytest.approx(1.96 * error, rel=0.02)


def test_a_fit_that_hangs_on_one_patient_has_a_value_and_no_interval():
    # Without the third patient all logits are alike, and no slope exists.
    found = calibration_slope([0, 1, 1, 0], [[0.4, 0.4, 0.6, 0.4], [0.4, 0.4, 0.4, 0.4]])
    assert found.ci_low is None
    assert found.reason is not None


def test_twelve_and_twelve_patients_are_covered():
    """AUC .9, scores calibrated: the clustered sandwich covers in 88 per cent."""
    rng = np.random.default_rng(8)
    shift, labels = math.sqrt(2) * stats.norm.ppf(0.9), np.repeat([0, 1], 12)
    covered, runs = 0, 0
    for _ in range(500):
        patients = shift * labels + math.sqrt(0.9) * rng.standard_normal(24)
        latent = patients + math.sqrt(0.1) * rng.standard_normal((3, 24))
        found = calibration_slope(labels, expit(shift * latent - shift**2 / 2))
        if found.ci_low is not None:
            runs += 1
            covered += found.ci_low <= 1 <= found.ci_high
    assert runs > 480
    assert 0.92 <= covered / runs <= 0.98


def test_what_is_no_probability_is_refused():
    with pytest.raises(EvaluationError, match="probabilities"):
        calibration_slope([0, 1, 0], [0.1, 1.2, 0.4])
