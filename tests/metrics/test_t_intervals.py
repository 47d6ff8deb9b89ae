"""Degrees of freedom, quantiles and intervals on the logit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import logit

from mri_transfer.metrics.t_intervals import logit_ends, t_quantile, welch_degrees


def test_degrees_are_those_of_welchs_test():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal(9), 3 * rng.standard_normal(20)
    parts = [group.var(ddof=1) / len(group) for group in (first, second)]
    expected = stats.ttest_ind(first, second, equal_var=False).df
    assert welch_degrees(parts, [9, 20]) == pytest.approx(expected)


def test_a_group_without_spread_leaves_the_degrees_of_the_other():
    assert welch_degrees([0.0, 0.3], [40, 12]) == pytest.approx(11)


def test_quantiles_by_table():
    assert t_quantile(0.95, 10) == pytest.approx(2.228, abs=5e-4)
    assert t_quantile(0.9, 1) == pytest.approx(6.314, abs=5e-4)


def test_ends_are_symmetric_on_the_logit_and_follow_the_delta_method():
    low, high = logit_ends(0.8, 0.04)
    assert logit(high) + logit(low) == pytest.approx(2 * logit(0.8))
    assert logit(high) - logit(0.8) == pytest.approx(0.04 / 0.16)
    assert 0 < logit_ends(0.999, 0.2)[0] < logit_ends(0.999, 0.2)[1] <= 1
