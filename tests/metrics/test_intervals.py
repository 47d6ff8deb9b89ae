"""Exact, square-and-add and bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.intervals import (
    Estimate,
    exact_proportion,
    mean_of_independent,
    patient_bootstrap,
    resample_patients,
    square_and_add,
)


def test_exact_interval_by_hand():
    # With no success in n the upper limit solves (1 - p) ** n = alpha / 2.
    none = exact_proportion(0, 20)
    assert (none.value, none.ci_low) == (0.0, 0.0)
    assert none.ci_high == pytest.approx(1 - 0.025 ** (1 / 20))
    every = exact_proportion(20, 20)
    assert every.ci_high == 1.0
    assert every.ci_low == pytest.approx(0.025 ** (1 / 20))
    # Tabulated: 5 of 10 gives 18.7 to 81.3 per cent.
    half = exact_proportion(5, 10)
    assert (half.ci_low, half.ci_high) == pytest.approx((0.1871, 0.8129), abs=5e-5)


@pytest.mark.parametrize(("count", "n"), [(3, 17), (52, 70), (52 + 1 / 3, 70), (48.5, 63.5)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_exact_interval_is_made_of_beta_quantiles(count, n, confidence):
    alpha = 1 - confidence
    found = exact_proportion(count, n, confidence=confidence)
    assert found.value == count / n
    assert found.ci_low == pytest.approx(beta.ppf(alpha / 2, count, n - count + 1))
    assert found.ci_high == pytest.approx(beta.ppf(1 - alpha / 2, count + 1, n - count))


def test_counts_between_whole_ones_lie_between_their_intervals():
    low, middle, high = (exact_proportion(k, 70) for k in (50, 50.5, 51))
    assert low.ci_low < middle.ci_low < high.ci_low
    assert low.ci_high < middle.ci_high < high.ci_high


def test_only_counts_of_whole_patients_have_an_exact_interval():
    assert "exact" in exact_proportion(9, 12).method
    for found in (exact_proportion(31 / 3, 12), exact_proportion(9, 12, averaged=True)):
        assert "exact" not in found.method
        assert "mean of the repeats" in found.method
    # The same quantiles: they only are not called what they are not.
    assert exact_proportion(9, 12, averaged=True).ci_low == exact_proportion(9, 12).ci_low


def test_the_interval_of_a_mean_of_repeats_covers():
    """Three calls a patient, far from independent, as in repeated cross-validation."""
    rng = np.random.default_rng(0)
    n, truth, hits = 12, 0.75, 0
    for _ in range(2000):
        shared = rng.random(n)
        calls = np.where(rng.random((3, n)) < 0.5, shared, rng.random((3, n))) < truth
        found = exact_proportion(calls.mean(axis=0).sum(), n, averaged=True)
        hits += found.ci_low <= truth <= found.ci_high
    assert hits / 2000 > 0.95


@pytest.mark.parametrize(("count", "n"), [(-1, 5), (6, 5), (float("nan"), 5)])
def test_impossible_counts_are_refused(count, n):
    with pytest.raises(EvaluationError, match="impossible"):
        exact_proportion(count, n)


def test_a_proportion_of_nobody_is_undefined_with_a_reason():
    found = exact_proportion(0, 0)
    assert found.value is None
    assert found.as_dict()["reason"]


def test_square_and_add_by_hand():
    first = Estimate(value=0.8, ci_low=0.5, ci_high=0.9, n=10, method="given")
    second = Estimate(value=0.6, ci_low=0.2, ci_high=0.8, n=20, method="given")
    found = square_and_add(first, second)
    assert found.value == pytest.approx(0.7)
    assert found.ci_low == pytest.approx(0.7 - 0.5 / 2)  # 3-4-5 triangle
    assert found.ci_high == pytest.approx(0.7 + (0.01 + 0.04) ** 0.5 / 2)
    assert found.n == 30
    three = mean_of_independent((first, first, first), n=30, method="given")
    assert three.value == pytest.approx(0.8)
    assert three.ci_low == pytest.approx(0.8 - 0.3 / 3**0.5)


def test_square_and_add_covers_and_keeps_a_width_at_the_bound():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        parts = [exact_proportion(rng.binomial(70, p), 70) for p in (0.75, 0.65)]
        found = square_and_add(*parts)
        hits += found.ci_low <= 0.70 <= found.ci_high
    assert hits / 300 >= 0.93
    perfect = square_and_add(exact_proportion(12, 12), exact_proportion(12, 12))
    assert perfect.value == perfect.ci_high == 1.0
    assert perfect.ci_low < 0.9
    undefined = square_and_add(exact_proportion(0, 0), exact_proportion(1, 2))
    assert undefined.value is None


def test_resampling_keeps_the_number_of_each_label():
    labels = np.array([0, 1, 0, 0, 1, 0, 1])
    indices = resample_patients(labels, n_samples=50, rng=np.random.default_rng(1))
    assert indices.shape == (50, 7)
    np.testing.assert_array_equal(labels[indices].sum(axis=1), 3)
    assert len(np.unique(indices)) == 7


def test_bootstrap_of_a_mean_has_the_known_width():
    rng = np.random.default_rng(2)
    values = rng.standard_normal(200)
    labels = np.arange(200) % 2
    found = patient_bootstrap(
        lambda rows: values[rows].mean(axis=1), labels, n_samples=4000, rng=rng, batched=True
    )
    spread = np.sqrt((values[labels == 1].var() + values[labels == 0].var()) / 2 / 200)
    assert found.value == pytest.approx(values.mean())
    assert found.ci_high - found.ci_low == pytest.approx(2 * 1.96 * spread, rel=0.06)


def test_batched_and_single_statistics_agree():
    values = np.random.default_rng(3).random(20)
    labels = np.arange(20) % 2
    one = patient_bootstrap(
        lambda rows: values[rows].mean(), labels, n_samples=200, rng=np.random.default_rng(4)
    )
    many = patient_bootstrap(
        lambda rows: values[rows].mean(axis=1),
        labels,
        n_samples=200,
        rng=np.random.default_rng(4),
        batched=True,
    )
    assert one == many


def test_bootstrap_says_why_it_has_no_interval():
    labels = np.arange(10) % 2
    rng = np.random.default_rng(5)
    same = patient_bootstrap(lambda rows: 0.5, labels, n_samples=100, rng=rng)
    assert same.value == 0.5
    assert same.ci_low is None
    assert "same value" in same.reason
    undefined = patient_bootstrap(lambda rows: float("nan"), labels, n_samples=100, rng=rng)
    assert undefined.value is None
    often = patient_bootstrap(
        lambda rows: 1.0 if (rows == np.arange(10)).all() else float("nan"),
        labels,
        n_samples=100,
        rng=rng,
    )
    assert often.ci_low is None


def test_an_estimate_is_never_nan_and_never_silent():
    with pytest.raises(ValueError, match="finite"):
        Estimate(value=float("nan"), ci_low=0, ci_high=1, n=3, method="none")
    with pytest.raises(ValueError, match="reason"):
        Estimate(value=None, ci_low=None, ci_high=None, n=3, method="none")


def test_estimates_are_written_with_whole_n_where_n_is_whole():
    entry = exact_proportion(5.0, 10.0).as_dict()
    assert list(entry) == ["value", "ci_low", "ci_high", "n", "method"]
    assert isinstance(entry["n"], int)
    assert exact_proportion(5.0, 10.5).as_dict()["n"] == 10.5
