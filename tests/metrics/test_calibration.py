"""Brier score and calibration curve."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.calibration import brier, calibration_curve
from tests.synthetic import labels_of_logits


def test_calibration_refuses_what_is_no_probability():
    with pytest.raises(EvaluationError, match="probabilities"):
        brier([0, 1, 0], [0.1, 1.2, 0.4])


def test_brier_by_hand():
    found = brier([1, 0, 0], [[0.8, 0.4, 0.0], [0.6, 0.2, 0.0]])
    assert found.value == pytest.approx((0.04 + 0.16 + 0 + 0.16 + 0.04 + 0) / 6)
    assert found.ci_low is None
    assert "two patients" in found.reason


def test_the_interval_of_the_brier_score_is_welchs_on_the_logit():
    """The Brier score is a sum of two means of independent groups, each with its share."""
    rng = np.random.default_rng(1)
    labels = np.arange(30) % 3 == 0
    scores = rng.random((2, 30))
    losses = np.mean((scores - labels) ** 2, axis=0)
    share = labels.mean()
    groups = share * losses[labels], -(1 - share) * losses[~labels]
    welch = stats.ttest_ind(*groups, equal_var=False)
    found = brier(labels.astype(int), scores, confidence=0.9)
    half = (welch.confidence_interval(0.9).high - welch.confidence_interval(0.9).low) / 2
    value = losses.mean()
    reach = half / (value * (1 - value))
    assert found.value == pytest.approx(value)
    assert logit(found.ci_high) == pytest.approx(logit(value) + reach)
    assert logit(found.ci_low) == pytest.approx(logit(value) - reach)
    assert found.n == 30


def test_repeating_the_same_scores_does_not_narrow_the_brier_score():
    labels, scores = labels_of_logits(60, seed=3)
    assert brier(labels, [scores] * 3) == brier(labels, scores)


def test_a_label_whose_patients_lose_alike_still_leaves_an_interval():
    found = brier([1, 1, 1, 0, 0, 0], [0.7, 0.7, 0.7, 0.1, 0.3, 0.6])
    assert 0 < found.ci_low < found.value < found.ci_high < 1
    for scores in ([0.5] * 6, [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]):
        level = brier([1, 1, 1, 0, 0, 0], scores)
        assert level.value in (0.25, 0.0, 1.0)
        assert level.ci_low is None
        assert "lose the same" in level.reason


def test_the_brier_score_is_covered_on_few_patients():
    """12 and 12 patients, AUC .78: the percentile bootstrap covers in 92 per cent."""
    rng = np.random.default_rng(5)
    shift = np.sqrt(2) * stats.norm.ppf(0.78)
    grid = np.linspace(-7, 9, 20_001)
    chance = expit(shift * grid - shift**2 / 2)
    density = stats.norm.pdf(grid) * chance**2 + stats.norm.pdf(grid - shift) * (1 - chance) ** 2
    truth, labels = np.trapezoid(density, grid) / 2, np.repeat([0, 1], 12)
    covered, runs = 0, 1000
    for _ in range(runs):
        found = brier(
            labels, expit(shift * (rng.standard_normal(24) + shift * labels) - shift**2 / 2)
        )
        covered += found.ci_low <= truth <= found.ci_high
    assert 0.93 <= covered / runs <= 0.97


def test_curve_by_hand():
    labels = [0, 0, 1, 0, 0, 1, 1, 0, 1, 1]
    scores = [0.1, 0.15, 0.2, 0.25, 0.3, 0.6, 0.65, 0.7, 0.75, 0.8]
    curve = calibration_curve(labels, scores, n_bins=2)
    assert curve.predicted == pytest.approx((0.2, 0.7))
    assert curve.observed == pytest.approx((1 / 5, 4 / 5))
    assert curve.n == (5.0, 5.0)
    assert all(
        low < value < high
        for low, value, high in zip(curve.ci_low, curve.observed, curve.ci_high, strict=True)
    )


def test_no_point_of_the_curve_stands_for_a_handful():
    labels, scores = labels_of_logits(24, seed=5)
    three = np.clip(np.array([scores, scores + 0.01, scores - 0.01]), 0, 1)
    curve = calibration_curve(labels, three, n_bins=10)
    assert curve.n == pytest.approx([6.0] * 4)
    assert len(calibration_curve(labels[:4], scores[:4]).n) == 1


def test_curve_counts_every_patient_once_whatever_ties_and_repeats():
    labels, scores = labels_of_logits(140, seed=5)
    rounded = np.round([scores, scores[::-1]], 1)
    curve = calibration_curve(labels, rounded, n_bins=10)
    assert sum(curve.n) == pytest.approx(140)
    assert len(curve.n) <= 10
    assert list(curve.predicted) == sorted(curve.predicted)
    assert calibration_curve(labels, np.full(140, 0.5)).n == (140.0,)
    positives = sum(n * share for n, share in zip(curve.n, curve.observed, strict=True))
    assert positives == pytest.approx(labels.sum())
