"""Two models on the same patients: bootstrap difference, McNemar, corrected t-test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.delong import delong_difference
from mri_transfer.metrics.discrimination import auc
from mri_transfer.metrics.intervals import resample_patients
from mri_transfer.metrics.paired import bootstrap_difference, corrected_t, mcnemar


def draw(seed, n=40, repeats=2, levels=None):
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 3 == 0).astype(int)
    common = labels + rng.standard_normal(n)
    scores = common + rng.standard_normal((2, repeats, n))
    if levels is not None:
        scores = np.round(scores * levels) / levels
    return labels, scores[0], scores[1]


@pytest.mark.parametrize("levels", [None, 1])
def test_bootstrap_difference_follows_the_definition(levels):
    labels, first, second = draw(1, levels=levels)
    drawn = resample_patients(labels, n_samples=60, rng=np.random.default_rng(7))
    slow = [auc(labels[row], first[:, row]) - auc(labels[row], second[:, row]) for row in drawn]
    found = bootstrap_difference(
        labels, first, second, n_samples=60, rng=np.random.default_rng(7), confidence=0.9
    )
    assert found.value == pytest.approx(auc(labels, first) - auc(labels, second))
    assert [found.ci_low, found.ci_high] == pytest.approx(list(np.quantile(slow, [0.05, 0.95])))
    assert found.n == 40


def test_bootstrap_difference_agrees_with_delong_on_140_patients():
    labels, first, second = draw(2, n=140)
    delong = delong_difference(labels, first, second)
    boot = bootstrap_difference(labels, first, second, n_samples=4000, rng=np.random.default_rng(0))
    assert boot.value == pytest.approx(delong.value)
    assert boot.ci_low == pytest.approx(delong.ci_low, abs=0.012)
    assert boot.ci_high == pytest.approx(delong.ci_high, abs=0.012)


def test_repeating_both_models_narrows_nothing():
    labels, first, second = draw(3, repeats=1)
    once, thrice = (
        bootstrap_difference(
            labels, np.tile(first, (k, 1)), np.tile(second, (k, 1)),
            n_samples=200, rng=np.random.default_rng(1),
        )
        for k in (1, 3)
    )  # fmt: skip
    assert thrice.ci_high - thrice.ci_low == pytest.approx(once.ci_high - once.ci_low)


def test_models_that_order_alike_differ_by_nothing_and_say_why_there_is_no_interval():
    labels, first, _ = draw(4)
    found = bootstrap_difference(
        labels, first, np.exp(first), n_samples=50, rng=np.random.default_rng(0)
    )
    assert found.value == 0.0
    assert found.ci_low is None
    assert "same value" in found.reason


def calls(first_only, second_only, both=20):
    """Positive patients of whom each model alone finds so many; one negative patient more."""
    first = [1] * first_only + [0] * second_only + [1] * both + [0]
    second = [0] * first_only + [1] * second_only + [1] * both + [0]
    return [1] * (len(first) - 1) + [0], first, second


def test_the_published_example_of_the_mid_p_test():
    """Bentur et al. 2009, as worked through by Fagerland et al. 2013: 1 and 7 discordant."""
    found = mcnemar(*calls(1, 7)).accuracy
    assert (found.first_only, found.second_only) == (1, 7)
    assert found.p_exact == pytest.approx(0.0703, abs=5e-5)
    assert found.p_mid == pytest.approx(0.0391, abs=5e-5)


@pytest.mark.parametrize(("a", "b"), [(0, 3), (4, 4), (9, 2), (0, 6)])
def test_p_values_follow_the_definition(a, b):
    found = mcnemar(*calls(a, b)).sensitivity
    n, k = a + b, min(a, b)
    below = sum(math.comb(n, i) for i in range(k)) / 2**n
    here = math.comb(n, k) / 2**n
    assert found.p_exact == pytest.approx(min(1.0, 2 * (below + here)))
    assert found.p_mid == pytest.approx(min(1.0, 2 * (below + here / 2)))
    mirrored = mcnemar(*calls(b, a)).sensitivity
    assert mirrored.p_mid == pytest.approx(found.p_mid)


def test_accuracy_is_split_into_sensitivity_and_specificity():
    labels = [1, 1, 1, 0, 0]
    found = mcnemar(labels, [1, 1, 0, 0, 1], [0, 1, 1, 1, 1])
    for part, counts in (
        (found.accuracy, (5, 2, 1)),
        (found.sensitivity, (3, 1, 1)),
        (found.specificity, (2, 1, 0)),
    ):
        assert (part.n, part.first_only, part.second_only) == counts


def test_models_that_agree_have_a_p_of_1():
    found = mcnemar([0, 1, 1], [0, 1, 0], [0, 1, 0]).accuracy
    assert (found.p_exact, found.p_mid, found.first_only) == (1.0, 1.0, 0)


def test_one_call_a_patient_by_majority_and_ties_by_the_first_repeat():
    # Patient 0: right in 2 of 3 repeats; patient 1: wrong in 2 of 3; patient 2 always wrong.
    labels = [1, 1, 0]
    first = [[1, 0, 1], [0, 0, 1], [1, 1, 1]]
    second = [[0, 1, 1]] * 3
    found = mcnemar(labels, first, second)
    assert (found.accuracy.first_only, found.accuracy.second_only) == (1, 1)
    assert [(r.first_only, r.second_only) for r in found.per_repeat] == [
        (1, 1), (0, 1), (1, 0),
    ]  # fmt: skip
    # Two repeats tie on patients 0 and 1: the first repeat speaks.
    tied = mcnemar(labels, first[:2], second[:2])
    assert (tied.accuracy.first_only, tied.accuracy.second_only) == (1, 1)
    turned = mcnemar(labels, first[:2][::-1], second[:2])
    assert (turned.accuracy.first_only, turned.accuracy.second_only) == (0, 1)
    assert "majority" in found.method


def test_repeating_the_calls_leaves_the_p_values():
    labels, first, second = calls(2, 9)
    once, thrice = (
        mcnemar(labels, first, second),
        mcnemar(labels, [first] * 3, [second] * 3),
    )
    assert thrice.accuracy == once.accuracy
    with pytest.raises(EvaluationError, match="not repeated equally often"):
        mcnemar(labels, [first] * 3, second)


def test_corrected_t_follows_the_formula():
    differences = np.array([[0.05, -0.01, 0.03, 0.02, 0.04], [0.00, 0.06, 0.01, 0.02, 0.03]])
    found = corrected_t(differences, n_train=112, n_test=28, confidence=0.9)
    flat = differences.ravel()
    mean = sum(flat) / 10
    variance = sum((x - mean) ** 2 for x in flat) / 9
    t = mean / math.sqrt((1 / 10 + 28 / 112) * variance)
    assert found.t == pytest.approx(t)
    assert found.df == 9
    assert found.p == pytest.approx(2 * (1 - stats.t.cdf(t, 9)))
    half = stats.t.ppf(0.95, 9) * mean / t
    assert [found.value, found.ci_low, found.ci_high] == pytest.approx(
        [mean, mean - half, mean + half]
    )


def test_without_the_overlap_of_training_sets_it_is_the_plain_t_test():
    differences = np.random.default_rng(5).standard_normal(12) + 0.4
    found = corrected_t(differences, n_train=1e12, n_test=1)
    expected = stats.ttest_1samp(differences, 0.0)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.ci_high == pytest.approx(expected.confidence_interval(0.95).high)


def test_more_repeats_never_narrow_the_interval_below_what_the_overlap_allows():
    rng = np.random.default_rng(6)
    few, many = rng.standard_normal(10), rng.standard_normal(4000)
    narrow = corrected_t(many, n_train=80, n_test=20)
    assert narrow.ci_high - narrow.value == pytest.approx(1.96 * 0.5, rel=0.03)
    wide = corrected_t(few, n_train=80, n_test=20)
    assert wide.ci_high - wide.value > narrow.ci_high - narrow.value


def test_corrected_t_keeps_its_level_where_the_plain_one_does_not():
    """Means of training sets that overlap, as in the paper: the figure is the error of a mean."""
    rng, rejected, naive, runs = np.random.default_rng(7), 0, 0, 400
    for _ in range(runs):
        first, second = rng.standard_normal((2, 50))
        figures = []
        for _ in range(5):
            order = rng.permutation(50)
            for test in order.reshape(5, 10):
                train = np.setdiff1d(order, test)
                figures.append(
                    np.square(second[test] - second[train].mean()).mean()
                    - np.square(first[test] - first[train].mean()).mean()
                )
        rejected += corrected_t(figures, n_train=40, n_test=10).p < 0.05
        naive += stats.ttest_1samp(figures, 0.0).pvalue < 0.05
    assert rejected / runs < 0.1
    assert naive / runs > 2 * rejected / runs


def test_folds_without_spread_have_no_interval_and_a_reason():
    same = corrected_t([0.1, 0.1, 0.1], n_train=8, n_test=2)
    assert same.value == pytest.approx(0.1)
    assert (same.ci_low, same.p) == (None, None)
    assert "same figure" in same.reason
    assert "one fold" in corrected_t([0.1], n_train=8, n_test=2).reason


@pytest.mark.parametrize("figures", [[], [0.1, math.nan]])
def test_figures_that_are_no_numbers_are_refused(figures):
    with pytest.raises(EvaluationError, match="finite"):
        corrected_t(figures, n_train=8, n_test=2)
    with pytest.raises(EvaluationError, match="without patients"):
        corrected_t([0.1, 0.2], n_train=8, n_test=0)
