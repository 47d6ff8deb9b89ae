"""DeLong's variance and paired comparison: published values, slow oracle, coverage."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logit

from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.discrimination import bootstrap_auc, delong_placements


def slow_covariance(labels, first, second):
    """Covariance of two AUCs as in equations 4 to 8 of DeLong et al. (1988), by loops."""
    positive = [i for i, y in enumerate(labels) if y == 1]
    negative = [i for i, y in enumerate(labels) if y == 0]
    m, n = len(positive), len(negative)

    def psi(scores, i, j):
        return 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0

    def parts(scores):
        v10 = [sum(psi(scores, i, j) for j in negative) / n for i in positive]
        v01 = [sum(psi(scores, i, j) for i in positive) / m for j in negative]
        return v10, v01, sum(v10) / m

    a10, a01, a = parts(first)
    b10, b01, b = parts(second)
    s10 = sum((x - a) * (y - b) for x, y in zip(a10, b10, strict=True)) / (m - 1)
    s01 = sum((x - a) * (y - b) for x, y in zip(a01, b01, strict=True)) / (n - 1)
    return s10 / m + s01 / n


def draw(seed, n=30, levels=None, shift=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 == 0
    common = rng.standard_normal(n)
    scores = shift * labels + common + rng.standard_normal((2, n))
    if levels is not None:
        scores = np.round(scores * levels) / levels
    return labels.astype(int), scores


@pytest.fixture(scope="module")
def published():
    """The 43 complete patients of DeLong et al. (1988): three screening tests, one outcome.

    Data and results as in the documentation of SAS/STAT, PROC LOGISTIC, example "Comparing
    Receiver Operating Characteristic Curves". The K-G score falls where the others rise, hence
    its sign.
    """
    table = pd.read_csv(Path(__file__).with_name("delong_1988.csv"))
    table["kg_score"] = -table["kg_score"]
    return table


@pytest.mark.parametrize(
    ("test", "area", "error"),
    [
        ("albumin", 0.7366, 0.0927),
        ("kg_score", 0.7258, 0.1028),
        ("total_protein", 0.6478, 0.1000),
    ],
)
def test_published_areas_and_standard_errors(published, test, area, error):
    found = delong_auc(published["popind"], published[test])
    assert found.estimate.value == pytest.approx(area, abs=5e-5)
    assert math.sqrt(found.variance) == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize(
    ("test", "difference", "low", "high", "p"),
    [
        ("albumin", 0.0108, -0.1761, 0.1976, 0.9102),
        ("total_protein", -0.0780, -0.2830, 0.1271, 0.4561),
    ],
)
def test_published_comparisons_with_the_kg_score(published, test, difference, low, high, p):
    found = delong_difference(published["popind"], published[test], published["kg_score"])
    assert found.value == pytest.approx(difference, abs=5e-5)
    # The paper takes the normal distribution; 12 patients of a label are given Student's t here.
    half = found.ci_high - found.value
    degrees = slow_degrees(published["popind"], published[test], published["kg_score"])
    error = half / stats.t.ppf(0.975, degrees)
    assert found.value - 1.959964 * error == pytest.approx(low, abs=5e-5)
    assert found.value + 1.959964 * error == pytest.approx(high, abs=5e-5)
    assert 2 * stats.norm.sf(abs(found.value) / error) == pytest.approx(p, abs=5e-5)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.value) / error, degrees))


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("seed", range(4))
def test_variance_and_difference_follow_the_definition(seed, levels):
    labels, (first, second) = draw(seed, levels=levels)
    var_first = slow_covariance(labels, first, first)
    var_second = slow_covariance(labels, second, second)
    both = slow_covariance(labels, first, second)
    assert delong_auc(labels, first).variance == pytest.approx(var_first)
    difference = delong_difference(labels, first, second)
    half = (difference.ci_high - difference.ci_low) / 2
    expected = math.sqrt(var_first + var_second - 2 * both)
    assert half == pytest.approx(stats.t.ppf(0.975, slow_degrees(labels, first, second)) * expected)


@pytest.mark.parametrize("seed", range(3))
def test_variance_of_averaged_repeats_holds_their_covariance(seed):
    labels, scores = draw(seed, levels=3)
    parts = [[slow_covariance(labels, a, b) for a in scores] for b in scores]
    assert delong_auc(labels, scores).variance == pytest.approx(np.mean(parts))


def test_repeating_the_same_scores_narrows_nothing():
    labels, scores = draw(5)
    once, thrice = delong_auc(labels, scores[0]), delong_auc(labels, [scores[0]] * 3)
    assert thrice.variance == pytest.approx(once.variance)
    assert thrice.estimate.n == once.estimate.n == 30


def test_interval_is_symmetric_in_the_logit_and_turns_with_the_labels():
    labels, scores = draw(6)
    estimate = delong_auc(labels, scores[0]).estimate
    turned = delong_auc(1 - labels, scores[0]).estimate

    assert logit(estimate.ci_high) + logit(estimate.ci_low) == pytest.approx(
        2 * logit(estimate.value)
    )
    assert turned.ci_low == pytest.approx(1 - estimate.ci_high)
    assert turned.ci_high == pytest.approx(1 - estimate.ci_low)


def test_complete_separation_keeps_an_honest_lower_limit():
    labels = [0] * 12 + [1] * 10
    estimate = delong_auc(labels, np.arange(22.0)).estimate
    assert estimate.value == 1.0
    assert estimate.ci_high == 1.0
    # Exact interval of 10 successes in 10: lower limit (alpha / 2) ** (1 / 10).
    assert estimate.ci_low == pytest.approx(0.025 ** (1 / 10))
    assert delong_auc(labels, -np.arange(22.0)).estimate.value == 0.0


def test_constant_scores_have_a_value_but_no_interval():
    estimate = delong_auc([0, 0, 1, 1], [0.4] * 4).estimate
    assert estimate.value == 0.5
    assert estimate.ci_low is None
    assert "constant" in estimate.reason
    assert delong_auc([0, 0, 1], [0.1, 0.2, 0.15]).estimate.ci_low is None


def test_scores_that_order_alike_do_not_differ():
    labels, scores = draw(7)
    found = delong_difference(labels, scores[0], np.exp(scores[0]))
    assert found.value == 0.0
    assert (found.ci_low, found.ci_high, found.p) == (0.0, 0.0, 1.0)


def test_difference_changes_sign_with_the_order():
    labels, scores = draw(8)
    one, two = delong_difference(labels, *scores), delong_difference(labels, *scores[::-1])
    assert one.value == pytest.approx(-two.value)
    assert one.p == pytest.approx(two.p)
    assert one.as_dict()["method"] == "paired DeLong, Welch's t"


def test_a_difference_without_a_variance_has_no_p_value():
    # Complete separation against constant scores: every placement differs by exactly one half.
    found = delong_difference([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [0.5] * 4)
    assert found.value == 0.5
    assert found.p is None
    assert found.reason is not None
    assert delong_difference([0, 0, 1], [0.1, 0.2, 0.15], [0.2, 0.3, 0.1]).p is None


def test_delong_and_bootstrap_intervals_agree_on_140_patients():
    rng = np.random.default_rng(9)
    labels = np.arange(140) % 2
    scores = labels + rng.standard_normal((3, 140)) * 0.3 + rng.standard_normal(140)
    delong = delong_auc(labels, scores).estimate
    boot = bootstrap_auc(labels, scores, n_samples=4000, rng=rng)
    assert boot.value == pytest.approx(delong.value)
    assert boot.ci_low == pytest.approx(delong.ci_low, abs=0.015)
    assert boot.ci_high == pytest.approx(delong.ci_high, abs=0.015)


def test_interval_covers_the_true_auc_and_the_test_keeps_its_level():
    rng = np.random.default_rng(10)
    labels = np.arange(140) % 2
    shift = 0.9538726  # two unit normals this far apart have an AUC of 0.75
    covered, rejected, runs = 0, 0, 1000
    for _ in range(runs):
        base = shift * labels + math.sqrt(0.5) * rng.standard_normal(140)
        first, second = base + math.sqrt(0.5) * rng.standard_normal((2, 140))
        estimate = delong_auc(labels, first).estimate
        covered += estimate.ci_low <= 0.75 <= estimate.ci_high
        rejected += delong_difference(labels, first, second).p < 0.05
    # Binomial error of 1000 runs: 0.007.
    assert 0.93 <= covered / runs <= 0.97
    assert 0.03 <= rejected / runs <= 0.075


def slow_degrees(labels, first, second=None):
    """Degrees of freedom of Welch's test of the placements, as scipy has them."""
    groups = delong_placements(labels, first)
    if second is not None:
        groups = [a - b for a, b in zip(groups, delong_placements(labels, second), strict=True)]
    return stats.ttest_ind(groups[0], groups[1], equal_var=False).df


def test_few_patients_of_a_label_are_given_welchs_t_on_the_placements():
    labels, (first, second) = draw(11, n=24)
    positive, negative = (
        a - b
        for a, b in zip(
            delong_placements(labels, first), delong_placements(labels, second), strict=True
        )
    )
    error = math.sqrt(positive.var(ddof=1) / len(positive) + negative.var(ddof=1) / len(negative))
    found = delong_difference(labels, first, second, confidence=0.9)
    degrees = slow_degrees(labels, first, second)
    assert found.ci_high == pytest.approx(found.value + stats.t.ppf(0.95, degrees) * error)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.value) / error, degrees))
    assert found.method == "paired DeLong, Welch's t"

    area = delong_auc(labels, first)
    reach = stats.t.ppf(0.975, slow_degrees(labels, first)) * math.sqrt(area.variance)
    value = area.estimate.value
    assert logit(area.estimate.ci_high) == pytest.approx(
        logit(value) + reach / (value * (1 - value))
    )
    assert area.estimate.method == "DeLong, logit, Welch's t"


@pytest.mark.parametrize(("n_positive", "few"), [(29, True), (30, False)])
def test_the_normal_quantile_stands_from_30_patients_of_each_label_on(n_positive, few):
    rng = np.random.default_rng(12)
    labels = np.repeat([1, 0], [n_positive, 60])
    first, second = labels + rng.standard_normal((2, len(labels)))
    area, difference = delong_auc(labels, first), delong_difference(labels, first, second)
    for method in (area.estimate.method, difference.method):
        assert method.endswith("Welch's t") == few
    reach = (logit(area.estimate.ci_high) - logit(area.estimate.value)) * (
        area.estimate.value * (1 - area.estimate.value)
    )
    quantile = reach / math.sqrt(area.variance)
    expected = stats.t.ppf(0.975, slow_degrees(labels, first)) if few else 1.959964
    assert quantile == pytest.approx(expected)


def test_twelve_and_twelve_patients_of_a_high_auc_are_covered():
    """Three repeats of cross-validation, correlated at 0.9, around an AUC of 0.95.

    The normal quantile, taken from the same variance, covers too rarely.
    """
    rng = np.random.default_rng(13)
    labels = np.repeat([0, 1], 12)
    shift, runs = math.sqrt(2) * stats.norm.ppf(0.95), 1500
    covered = normal = 0
    for _ in range(runs):
        patients = math.sqrt(0.9) * rng.standard_normal(24)
        scores = shift * labels + patients + math.sqrt(0.1) * rng.standard_normal((3, 24))
        area = delong_auc(labels, scores)
        value = area.estimate.value
        inside = area.estimate.ci_low <= 0.95 <= area.estimate.ci_high
        covered += inside
        if area.variance:
            reach = 1.959964 * math.sqrt(area.variance) / (value * (1 - value))
            normal += abs(logit(0.95) - logit(value)) <= reach
        else:
            normal += inside
    assert 0.93 <= covered / runs <= 0.97
    assert normal / runs < 0.935
