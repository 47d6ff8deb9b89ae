"""Intervals of the stress test's figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mri_transfer.evaluation.audit.replicates import permutation_mean, resampled_figure


def test_the_mean_of_permutations_has_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.05, 30)
    entry = permutation_mean(values, 140)
    low, high = stats.t.interval(0.95, 29, loc=values.mean(), scale=stats.sem(values))
    assert entry.value == pytest.approx(values.mean())
    assert (entry.ci_low, entry.ci_high) == pytest.approx((low, high))


def test_it_covers_chance_as_often_as_it_says() -> None:
    """Twenty permuted figures with a standard deviation of .06 each, two thousand times."""
    rng = np.random.default_rng(1)
    entries = [permutation_mean(rng.normal(0.5, 0.06, 20), 140) for _ in range(2000)]
    covered = np.mean([entry.ci_low <= 0.5 <= entry.ci_high for entry in entries])
    assert 0.93 < covered < 0.97


def test_permutations_that_agree_have_no_interval() -> None:
    entry = permutation_mean(np.full(12, 1.0), 140)
    assert entry.value == 1.0
    assert entry.ci_low is None
    assert "same value" in entry.reason


def test_resampled_patients_give_percentiles() -> None:
    rows = np.concatenate([[0.7], np.linspace(0.6, 0.8, 1001)])
    entry = resampled_figure(rows, 140)
    assert (entry.ci_low, entry.ci_high) == pytest.approx((0.605, 0.795))


def test_too_many_undefined_resamples_give_no_interval() -> None:
    rows = np.concatenate([[0.7], np.full(10, np.nan), np.linspace(0.6, 0.8, 90)])
    assert resampled_figure(rows, 140).reason == "undefined on 10 of 100 resamples"
