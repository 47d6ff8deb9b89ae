"""Likelihood ratios, and predictive values at other prevalences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, norm
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    score_test_proportions_2indep,
)

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.operating_point import Confusion
from mri_transfer.metrics.predictive_values import by_prevalence, likelihood_ratios


def counts(tp, n_positive, tn, n_negative):
    return Confusion(tp=tp, fn=n_positive - tp, tn=tn, fp=n_negative - tn)


def positive_ratio(table, **kwargs):
    return likelihood_ratios(table, **kwargs)["positive_likelihood_ratio"]


def test_ratios_and_predictive_values_by_hand():
    table = counts(80, 100, 90, 100)
    found = likelihood_ratios(table)
    assert found["positive_likelihood_ratio"].value == pytest.approx(8.0)
    assert found["negative_likelihood_ratio"].value == pytest.approx(0.2 / 0.9)
    (row,) = by_prevalence(table, prevalences=[0.1])
    assert row.prevalence == 0.1
    assert row.ppv.value == pytest.approx(0.08 / (0.08 + 0.09))
    assert row.npv.value == pytest.approx(0.81 / (0.81 + 0.02))
    assert row.ppv.n == 200


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize(
    ("a", "n", "b", "m"),
    [(50, 70, 20, 70), (66, 70, 4, 70), (51 + 1 / 3, 70, 22.5, 61), (3, 9, 5, 8)],
)
def test_interval_is_that_of_statsmodels(a, n, b, m, confidence):
    found = positive_ratio(counts(a, n, m - b, m), confidence=confidence)
    oracle = confint_proportions_2indep(
        a, n, b, m, compare="ratio", method="score", correction=False, alpha=1 - confidence
    )
    assert (found.ci_low, found.ci_high) == pytest.approx(oracle, rel=1e-6)


@pytest.mark.parametrize(("a", "b"), [(70, 20), (70, 69), (20, 70), (69, 70), (50, 1), (1, 50)])
def test_limits_are_where_the_score_test_reaches_its_level(a, b):
    found = positive_ratio(counts(a, 70, 70 - b, 70))
    for limit in (found.ci_low, found.ci_high):
        test = score_test_proportions_2indep(
            a, 70, b, 70, value=limit, compare="ratio", correction=False
        )
        assert test.pvalue == pytest.approx(0.05, abs=1e-6)


def test_interval_exists_at_the_bounds():
    none_false = likelihood_ratios(counts(60, 70, 70, 70))
    positive, negative = none_false.values()
    assert positive.value is None
    assert positive.ci_high is None
    assert "negative label" in positive.reason
    assert positive.ci_low > 10
    assert negative.value == pytest.approx(10 / 70)
    assert 0 < negative.ci_low < negative.value < negative.ci_high < 1
    none_missed = likelihood_ratios(counts(70, 70, 50, 70))["negative_likelihood_ratio"]
    assert none_missed.value == none_missed.ci_low == 0
    assert 0 < none_missed.ci_high < 0.1
    # Everybody called positive: Koopman's limits have a closed form there.
    z2 = norm.ppf(0.975) ** 2
    everybody = positive_ratio(counts(70, 70, 0, 70))
    assert (everybody.ci_low, everybody.ci_high) == pytest.approx((70 / (70 + z2), (70 + z2) / 70))


def test_undefined_where_nobody_was_called():
    table = counts(0, 10, 12, 12)
    assert positive_ratio(table).value is None
    assert "called positive" in positive_ratio(table).reason
    for row in by_prevalence(table):
        assert row.ppv.value is None
        assert row.npv.value == pytest.approx(1 - row.prevalence)
    one_label = likelihood_ratios(counts(5, 10, 0, 0))
    assert {estimate.value for estimate in one_label.values()} == {None}


def test_predictive_values_at_the_bounds_are_1_with_an_interval():
    for row in by_prevalence(counts(70, 70, 70, 70)):
        for name in ("ppv", "npv"):
            assert getattr(row, name).value == getattr(row, name).ci_high == 1
            assert 0 < getattr(row, name).ci_low < 1


def test_ratios_turn_with_the_labels():
    table, turned = counts(55, 70, 48, 63), counts(48, 63, 55, 70)
    found, other = likelihood_ratios(table), likelihood_ratios(turned)
    first, second = found["positive_likelihood_ratio"], other["negative_likelihood_ratio"]
    assert first.value == pytest.approx(1 / second.value)
    assert first.ci_low == pytest.approx(1 / second.ci_high)
    assert first.ci_high == pytest.approx(1 / second.ci_low)
    for row, mirror in zip(
        by_prevalence(table, prevalences=[0.2, 0.5]),
        by_prevalence(turned, prevalences=[0.8, 0.5]),
        strict=True,
    ):
        for part in ("value", "ci_low", "ci_high"):
            assert getattr(row.ppv, part) == pytest.approx(getattr(mirror.npv, part))


def test_ppv_rises_and_npv_falls_with_prevalence():
    rows = by_prevalence(counts(52, 70, 50, 70))
    assert [row.prevalence for row in rows] == [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5]
    for part in ("value", "ci_low", "ci_high"):
        assert (np.diff([getattr(row.ppv, part) for row in rows]) > 0).all()
        assert (np.diff([getattr(row.npv, part) for row in rows]) < 0).all()


def test_interval_is_near_the_logit_interval_of_mercaldo_away_from_the_bounds():
    se, sp, n, p = 0.75, 0.7, 400, 0.2
    (row,) = by_prevalence(counts(se * n, n, sp * n, n), prevalences=[p])
    for name, value, variance in (
        (
            "ppv",
            se * p / (se * p + (1 - sp) * (1 - p)),
            (1 - se) / (se * n) + sp / ((1 - sp) * n),
        ),
        (
            "npv",
            sp * (1 - p) / (sp * (1 - p) + (1 - se) * p),
            se / ((1 - se) * n) + (1 - sp) / (sp * n),
        ),
    ):
        middle, half = math.log(value / (1 - value)), 1.959964 * math.sqrt(variance)
        low, high = (1 / (1 + math.exp(-(middle + sign * half))) for sign in (-1, 1))
        found = getattr(row, name)
        assert found.value == pytest.approx(value)
        assert (found.ci_low, found.ci_high) == pytest.approx((low, high), abs=0.004)


def test_exact_coverage_with_40_and_40_patients():
    n, k = 40, np.arange(41)
    low, high = np.zeros((41, 41)), np.full((41, 41), np.inf)
    for a in k:
        for b in k:
            found = positive_ratio(counts(a, n, n - b, n))
            if found.ci_low is not None:
                low[a, b] = found.ci_low
                high[a, b] = np.inf if found.ci_high is None else found.ci_high
    for sensitivity, false_rate in [(0.5, 0.5), (0.8, 0.2), (0.95, 0.3), (0.6, 0.02), (0.99, 0.01)]:
        weight = np.outer(binom.pmf(k, n, sensitivity), binom.pmf(k, n, false_rate))
        inside = (low <= sensitivity / false_rate) & (sensitivity / false_rate <= high)
        assert 0.93 <= weight[inside].sum() <= 0.985


def test_a_prevalence_that_is_none_is_refused():
    for wrong in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(EvaluationError, match="prevalence"):
            by_prevalence(counts(5, 10, 5, 10), prevalences=[0.1, wrong])
