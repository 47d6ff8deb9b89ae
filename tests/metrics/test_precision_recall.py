"""Average precision and its jackknife, against leaving patients out one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.precision_recall import average_precision, average_precision_interval


def draw(seed, n=40, *, levels=None, repeats=2, shift=1.0):
    rng = np.random.default_rng(seed)
    labels = np.zeros(n, dtype=int)
    labels[rng.permutation(n)[: n // 3]] = 1
    scores = shift * labels + rng.standard_normal(n) + 0.3 * rng.standard_normal((repeats, n))
    return labels, scores if levels is None else np.floor(scores * levels) / levels


def slow_interval(labels, scores, confidence):
    """Refit scikit-learn's figure without every patient; the jackknife of two samples."""
    n = len(labels)
    value = np.mean([average_precision_score(labels, row) for row in scores])
    variance, bias = 0.0, 0.0
    for label in (0, 1):
        members = np.flatnonzero(labels == label)
        left = []
        for i in members:
            kept = np.arange(n) != i
            rest = [average_precision_score(labels[kept], row[kept]) for row in scores]
            left.append(logit(min(np.mean(rest), 1 - 1e-3)))
        m = len(members)
        variance += (m - 1) / m * sum((one - np.mean(left)) ** 2 for one in left)
        bias += (m - 1) * (np.mean(left) - logit(value))
    half = stats.t.ppf(0.5 + confidence / 2, n - 2) * math.sqrt(variance)
    centre = logit(value) - bias
    return value, expit(centre - half), expit(centre + half)


def test_average_precision_by_hand():
    # Ranked: 1, 0, 1 -> precision 1 at the first positive, 2/3 at the second.
    assert average_precision([1, 0, 1], [0.9, 0.5, 0.2]) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("levels", [None, 2, 1])
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_follows_the_definition_whatever_ties(seed, levels):
    labels, scores = draw(seed, levels=levels)
    found = average_precision_interval(labels, scores, confidence=0.9)
    value, low, high = slow_interval(labels, scores, 0.9)
    assert found.value == pytest.approx(value)
    assert found.ci_low == pytest.approx(low)
    assert found.ci_high == pytest.approx(high)
    assert found.n == 40


def test_two_patients_of_a_label_suffice_and_one_does_not():
    labels = np.array([1, 0, 1, 0, 0])
    scores = np.array([[0.9, 0.8, 0.4, 0.3, 0.1]])
    found = average_precision_interval(labels, scores)
    value, low, high = slow_interval(labels, scores, 0.95)
    assert (found.ci_low, found.ci_high) == pytest.approx((min(low, value), max(high, value)))
    one = average_precision_interval([1, 0, 0], [0.5, 0.6, 0.2])
    assert one.value == pytest.approx(0.5)
    assert one.ci_low is None
    assert "two patients" in one.reason


def test_repeating_the_same_scores_narrows_nothing():
    labels, scores = draw(4, repeats=1)
    once, thrice = (average_precision_interval(labels, np.tile(scores, (k, 1))) for k in (1, 3))
    assert (thrice.ci_low, thrice.ci_high) == pytest.approx((once.ci_low, once.ci_high))


def test_order_alone_counts():
    labels, scores = draw(5)
    found, bent = (average_precision_interval(labels, x) for x in (scores, np.exp(3 * scores)))
    assert bent == found


def test_separated_labels_have_a_value_and_no_interval():
    found = average_precision_interval([0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.8, 0.9])
    assert found.value == 1.0
    assert found.ci_low is None
    assert "whichever patient" in found.reason


def test_the_value_lies_in_the_interval_and_the_interval_between_0_and_1():
    for seed in range(60):
        found = average_precision_interval(*draw(seed, n=12, shift=2.0))
        if found.ci_low is not None:
            assert 0 < found.ci_low <= found.value <= found.ci_high <= 1


def test_a_bias_larger_than_the_interval_leaves_the_value_inside():
    """Three positive patients, most negative ones scored above them: corrected, all lies below."""
    labels = np.array([1] * 3 + [0] * 10)
    scores = np.array([[5, 7, 20, 42, 25, 47, 11, 9, 40, 26, 8, 7, 25]], dtype=float)
    found = average_precision_interval(labels, scores)
    assert slow_interval(labels, scores, 0.95)[2] < found.value
    assert found.ci_high == found.value


def test_a_precision_next_to_1_of_many_patients_keeps_its_interval():
    labels, scores = draw(6, n=9000, repeats=1, shift=5.0)
    found = average_precision_interval(labels, scores)
    assert 0.999 < found.ci_low < found.value < found.ci_high < 1


@pytest.mark.slow
def test_the_truth_is_covered_on_few_patients():
    """30 and 30 patients, AUC .78: the percentile bootstrap covers in 89 per cent."""
    rng = np.random.default_rng(7)
    shift = math.sqrt(2) * stats.norm.ppf(0.78)
    grid = np.linspace(-6, 9, 20_001)
    above, below = stats.norm.sf(grid - shift), stats.norm.sf(grid)
    truth = np.trapezoid(above / (above + below) * stats.norm.pdf(grid - shift), grid)
    labels, runs, covered = np.repeat([0, 1], 30), 1000, 0
    for _ in range(runs):
        patients = shift * labels + math.sqrt(0.9) * rng.standard_normal(60)
        found = average_precision_interval(
            labels, patients + math.sqrt(0.1) * rng.standard_normal((3, 60))
        )
        covered += found.ci_low <= truth <= found.ci_high
    assert 0.93 <= covered / runs <= 0.97


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(EvaluationError, match="both labels"):
        average_precision_interval([1, 1], [0.2, 0.3])
    with pytest.raises(EvaluationError, match="do not fit"):
        average_precision_interval([1, 0], [0.2, 0.3, 0.4])
