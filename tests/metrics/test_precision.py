"""Expected interval widths and the patients they take."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, polygamma
from statsmodels.stats.proportion import proportion_confint

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.calibration_slope import calibration_slope
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.precision import (
    expected_width,
    patients_for_proportion,
    patients_for_slope,
    patients_for_width,
    precision_summary,
)
from mri_transfer.metrics.results import FigurePrecision


@pytest.mark.parametrize(("n", "half"), [(100, 0.068), (70, 0.08)])
def test_the_known_half_widths_of_an_auc_of_three_quarters(n, half):
    assert expected_width(0.75, n, n) / 2 == pytest.approx(half, abs=1e-3)


def test_the_variance_is_exact_for_exponential_scores():
    """Hanley and McNeil's model: the AUC is the share of one rate in the sum of both."""
    rng = np.random.default_rng(0)
    positive = rng.exponential(3.0, (20_000, 15))
    negative = rng.exponential(1.0, (20_000, 10))
    areas = (positive[:, :, None] > negative[:, None, :]).mean(axis=(1, 2))
    assert areas.mean() == pytest.approx(0.75, abs=0.005)
    assert 2 * 1.959964 * areas.std() == pytest.approx(expected_width(0.75, 15, 10), rel=0.02)


def test_the_published_sample_size_of_an_auc():
    """The formula of Riley et al. 2021 for equal numbers per label, which is the same variance."""
    n, c = 300, 0.8
    variance = c * (1 - c) * (1 + (n / 2 - 1) * ((1 - c) / (2 - c) + c / (1 + c))) / (n * n / 4)
    assert expected_width(c, n / 2, n / 2) == pytest.approx(2 * 1.959964 * math.sqrt(variance))


def test_turning_labels_and_scores_changes_nothing():
    assert expected_width(0.8, 30, 90) == pytest.approx(expected_width(0.2, 90, 30))


@pytest.mark.parametrize("auc", [0.55, 0.75, 0.97])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_patients_for_an_auc_are_the_first_that_suffice(auc, share):
    found = patients_for_width(auc, 0.08, share_positive=share)
    halves = [expected_width(auc, n * share, n * (1 - share)) / 2 for n in range(2, found + 1)]
    assert halves[-1] <= 0.08
    assert all(half > 0.08 for half in halves[:-1])


def test_140_patients_for_the_half_width_of_70_and_70():
    assert patients_for_width(0.75, expected_width(0.75, 70, 70) / 2, share_positive=0.5) == 140


@pytest.mark.parametrize("proportion", [0.5, 0.9, 1.0])
def test_patients_for_a_proportion_are_the_first_that_suffice(proportion):
    def half(n):
        low, high = proportion_confint(proportion * n, n, method="beta")
        return (high - low) / 2

    found = patients_for_proportion(proportion, 0.06)
    assert half(found) <= 0.06 < half(found - 1)
    # With 40 % of the patients counting, as many of them are needed.
    assert patients_for_proportion(proportion, 0.06, share=0.4) == math.ceil(
        first_real(half, 0.06) / 0.4
    )


def first_real(half, limit):
    """The real number of patients at which the half-width is the limit."""
    from scipy.optimize import brentq

    return brentq(lambda n: half(n) - limit, 1, 10_000)


def test_a_sensitivity_of_90_percent_within_5_points_takes_some_160_positive_patients():
    # The normal approximation gives 1.96^2 * 0.9 * 0.1 / 0.05^2 = 138; exact intervals are longer.
    assert 138 < patients_for_proportion(0.9, 0.05) < 175


def test_slope_for_scores_with_a_closed_form():
    """Scores from Beta(1/2, 1/2), as in the tests of pmvalsampsize: 1/8 of a logit's variance."""
    scores = stats.beta(0.5, 0.5).ppf((np.arange(400_000) + 0.5) / 400_000)
    logits = np.log(scores / (1 - scores))
    variance = 2 * polygamma(1, 1.5)
    error = 0.2 / (2 * stats.norm.ppf(0.975))
    assert patients_for_slope(logits, 0.1) == pytest.approx(8 / variance / error**2, abs=2)


def test_slope_for_normal_logits_agrees_with_the_published_package():
    """pmvalsampsize gives 4501 from 1000 simulated logits of mean -5 and deviation 2.5."""
    logits = stats.norm(-5, 2.5).ppf((np.arange(200_000) + 0.5) / 200_000)
    assert patients_for_slope(logits, 0.1) == pytest.approx(4501, rel=0.02)


def test_the_slope_formula_predicts_the_interval_that_is_reported():
    rng = np.random.default_rng(2)
    logits = 1.3 * rng.standard_normal(4000)
    labels = rng.random(4000) < expit(logits)
    found = calibration_slope(labels, expit(logits))
    half = (found.ci_high - found.ci_low) / 2
    assert patients_for_slope(logits, half) == pytest.approx(4000, rel=0.08)


def test_extreme_logits_count_for_nothing_and_overflow_nowhere():
    logits = np.array([-1.0, 0.5, 2.0] * 10)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        more = patients_for_slope(np.concatenate([logits, [900.0, -900.0] * 15]), 0.1)
    assert more == pytest.approx(2 * patients_for_slope(logits, 0.1), abs=1)


def draw(n=140, repeats=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    scores = expit(labels - 0.5 + rng.standard_normal(n) + 0.3 * rng.standard_normal((repeats, n)))
    return labels, scores


def test_the_summary_describes_this_cohort_and_larger_ones():
    labels, scores = draw()
    found = precision_summary(labels, scores, predicted=scores > 0.5, half_widths=(0.05, 0.02))
    delong = delong_auc(labels, scores).estimate
    assert (found.n, found.n_positive) == (140, 70)
    assert found.auc.half_width == pytest.approx((delong.ci_high - delong.ci_low) / 2)
    assert found.auc.expected_half_width == pytest.approx(found.auc.half_width, rel=0.15)
    by_method = {(row.method, row.half_width): row.n for row in found.auc.patients}
    for half in (0.05, 0.02):
        hanley, own = by_method["Hanley and McNeil", half], by_method["DeLong", half]
        assert own == pytest.approx(hanley, rel=0.25)
    assert by_method["DeLong", 0.02] == pytest.approx(by_method["DeLong", 0.05] * 6.25, rel=0.01)
    sensitivity = found.sensitivity
    assert [row.n for row in sensitivity.patients] == [
        patients_for_proportion(sensitivity.value, half, share=0.5) for half in (0.05, 0.02)
    ]
    assert len(found.calibration_slope.patients) == 3


def test_delongs_components_give_this_cohorts_own_variance_back():
    labels, scores = draw(90)
    labels[:15] = 1  # unequal numbers
    error = math.sqrt(delong_auc(labels, scores).variance)
    found = precision_summary(
        labels, scores, predicted=scores > 0.5, half_widths=(1.959964 * error * 1.0001,)
    )
    assert found.auc.patients[1].n == 90


def test_repeats_promise_no_precision():
    labels, scores = draw(repeats=1)
    once = precision_summary(labels, scores, predicted=scores > 0.5)
    thrice = precision_summary(
        labels, np.tile(scores, (3, 1)), predicted=np.tile(scores, (3, 1)) > 0.5
    )
    for name in ("auc", "sensitivity", "specificity", "calibration_slope"):
        assert getattr(thrice, name).half_width == pytest.approx(
            getattr(once, name).half_width, rel=5e-3
        )
        assert getattr(thrice, name).patients == getattr(once, name).patients


def test_what_cannot_be_said_carries_a_reason():
    separated = precision_summary(
        [0] * 5 + [1] * 5, np.linspace(0.1, 0.9, 10), predicted=[0] * 5 + [1] * 5
    )
    assert separated.auc.patients == ()
    assert "complete separation" in separated.auc.reason
    assert separated.calibration_slope.value is None
    assert separated.calibration_slope.patients
    constant = precision_summary([0, 0, 1, 1], [0.5] * 4, predicted=[1] * 4)
    assert constant.calibration_slope == FigurePrecision(
        value=None, half_width=None, patients=(), reason="the scores are constant"
    )
    lone = precision_summary([0, 0, 0, 1], [0.1, 0.2, 0.5, 0.4], predicted=[0, 0, 1, 1])
    assert {row.method for row in lone.auc.patients} == {"Hanley and McNeil"}


@pytest.mark.parametrize(
    "call",
    [
        lambda: expected_width(1.0, 10, 10),
        lambda: expected_width(0.7, 0, 10),
        lambda: patients_for_width(0.7, 0.0, share_positive=0.5),
        lambda: patients_for_width(0.7, 0.1, share_positive=1.0),
        lambda: patients_for_width(0.7, 1e-9, share_positive=0.5),
        lambda: patients_for_proportion(1.2, 0.1),
        lambda: patients_for_proportion(0.5, 0.1, share=0.0),
        lambda: patients_for_slope([0.3, 0.3], 0.1),
        lambda: patients_for_slope([0.3, math.inf], 0.1),
    ],
)
def test_impossible_numbers_are_refused(call):
    with pytest.raises(EvaluationError):
        call()
