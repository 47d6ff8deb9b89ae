"""Does the image's score add to covariates: the likelihood ratio."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import minimize

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.likelihood_ratio import covariate_matrix, likelihood_ratio_test


def draw(seed=0, n=120, image=1.0):
    rng = np.random.default_rng(seed)
    covariates = rng.standard_normal((n, 2)) * [1.0, 30.0] + [0.0, 1400.0]
    logit = rng.standard_normal(n)
    chance = 1 / (1 + np.exp(-(0.8 * covariates[:, 0] + image * logit)))
    return (rng.random(n) < chance).astype(int), covariates, logit


def slow_log_likelihood(labels, design):
    """The largest log-likelihood of a logistic model, by a general optimiser."""

    def loss(beta):
        z = design @ beta
        return np.logaddexp(0, z).sum() - z[labels == 1].sum()

    return -minimize(loss, np.zeros(design.shape[1]), method="BFGS", tol=1e-10).fun


def test_the_statistic_follows_the_definition():
    labels, covariates, logit = draw()
    ones = np.ones((len(labels), 1))
    scaled = (covariates - covariates.mean(axis=0)) / covariates.std(axis=0)
    small = slow_log_likelihood(labels, np.hstack([ones, scaled]))
    large = slow_log_likelihood(labels, np.hstack([ones, scaled, logit[:, None]]))
    found = likelihood_ratio_test(labels, covariates, logit)
    assert found.chi2 == pytest.approx(2 * (large - small), rel=1e-5)
    assert found.p == pytest.approx(stats.chi2.sf(found.chi2, 1))
    assert found.df == 1
    assert found.p_one_sided == pytest.approx(found.p / 2)
    low, high = found.coefficient.ci_low, found.coefficient.ci_high
    assert low < found.coefficient.value < high


def test_the_corrected_p_values_halve_the_statistic():
    found = likelihood_ratio_test(*draw())
    half = found.chi2 / 2
    assert found.p_corrected == pytest.approx(stats.chi2.sf(half, 1))
    assert found.p_one_sided_corrected == pytest.approx(stats.norm.sf(math.sqrt(half)))
    assert "halves" in found.note


def test_scores_of_cross_validation_keep_their_level_once_corrected():
    """Distance along the difference of two means, learnt on the other folds, of pure noise."""
    rng = np.random.default_rng(9)
    labels, fold, found = np.arange(60) % 2, np.arange(60) // 2 % 5, []
    for _ in range(400):
        age, features = labels + rng.standard_normal(60), rng.standard_normal((60, 25))
        score = np.empty(60)
        for k in range(5):
            train = fold != k
            means = [features[train & (labels == label)].mean(axis=0) for label in (0, 1)]
            score[~train] = features[~train] @ (means[1] - means[0])
        found.append(likelihood_ratio_test(labels, age[:, None], score))
    shares = {
        name: np.mean([getattr(one, name) < 0.05 for one in found])
        for name in ("p", "p_one_sided", "p_corrected", "p_one_sided_corrected")
    }
    assert shares["p"] > 0.08
    # Binomial error of 400 runs at 0.05: 0.011.
    assert max(shares["p_corrected"], shares["p_one_sided_corrected"]) < 0.075


def test_without_covariates_a_binary_score_has_the_closed_form_of_a_table():
    # 30 of 40 against 12 of 36: G statistic of the 2 x 2 table, coefficient the log odds ratio.
    labels = [1] * 30 + [0] * 10 + [1] * 12 + [0] * 24
    logit = [1.0] * 40 + [0.0] * 36
    found = likelihood_ratio_test(labels, np.empty((76, 0)), logit)
    expected = stats.chi2_contingency([[30, 10], [12, 24]], correction=False, lambda_=0)
    assert found.chi2 == pytest.approx(expected.statistic)
    assert found.coefficient.value == pytest.approx(math.log(30 * 24 / (10 * 12)))
    error = math.sqrt(1 / 30 + 1 / 10 + 1 / 12 + 1 / 24)
    assert found.coefficient.ci_high == pytest.approx(
        found.coefficient.value + 1.959964 * error, rel=1e-5
    )


def test_the_coefficient_is_by_unit_of_the_logit():
    labels, covariates, logit = draw(1)
    one = likelihood_ratio_test(labels, covariates, logit)
    tenth = likelihood_ratio_test(labels, covariates * 7 + 3, logit / 10 - 4)
    assert tenth.chi2 == pytest.approx(one.chi2)
    assert tenth.coefficient.value == pytest.approx(10 * one.coefficient.value)
    assert tenth.coefficient.ci_low == pytest.approx(10 * one.coefficient.ci_low)


def test_an_image_that_points_the_wrong_way_is_no_help():
    labels, covariates, logit = draw(2)
    found = likelihood_ratio_test(labels, covariates, -logit)
    assert found.p < 0.01
    assert found.coefficient.value < 0
    assert found.p_one_sided > 0.99


def test_dependent_and_constant_covariates_change_nothing():
    labels, covariates, logit = draw(3)
    more = np.column_stack([covariates, covariates.sum(axis=1), np.ones(len(labels))])
    found, expected = (likelihood_ratio_test(labels, x, logit) for x in (more, covariates))
    assert found.chi2 == pytest.approx(expected.chi2)


def test_the_test_keeps_its_level():
    p = [likelihood_ratio_test(*draw(seed, n=80, image=0.0)).p for seed in range(300)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda labels, x, z: (x, 5.0 * labels - 2), "separate"),
        (lambda labels, x, z: (np.column_stack([x, 9.0 * labels]), z), "separate"),
        (lambda labels, x, z: (x, 2 * x[:, 0] - x[:, 1]), "sum of the covariates"),
        (lambda labels, x, z: (x, np.full(len(z), 0.3)), "alike"),
    ],
)
def test_what_cannot_be_tested_carries_a_reason(change, reason):
    labels, covariates, logit = draw(4)
    found = likelihood_ratio_test(labels, *change(labels, covariates, logit))
    assert reason in found.reason
    assert (found.chi2, found.p, found.p_corrected) == (None, None, None)
    assert found.coefficient.value is None


def test_almost_separated_labels_are_not_passed_off_as_a_fit():
    labels = np.repeat([0, 1], 20)
    logit = np.concatenate([np.linspace(-3, -1, 20), np.linspace(1, 3, 20)])
    assert "separate" in likelihood_ratio_test(labels, np.empty((40, 0)), logit).reason
    # Quasi-complete: both labels at one value only.
    logit[19] = logit[20] = 0.0
    assert "separate" in likelihood_ratio_test(labels, np.empty((40, 0)), logit).reason


def test_a_rare_category_of_one_label_leaves_the_test_of_the_others():
    """Its coefficient has no end, but its patients are merely out of the comparison."""
    labels, covariates, logit = draw(6)
    labels[:3] = 1
    rare = (np.arange(len(labels)) < 3).astype(float)
    found = likelihood_ratio_test(labels, np.column_stack([covariates, rare]), logit)
    without = likelihood_ratio_test(labels[3:], covariates[3:], logit[3:])
    assert found.chi2 == pytest.approx(without.chi2, abs=1e-3)
    for part in ("value", "ci_low", "ci_high"):
        expected = getattr(without.coefficient, part)
        assert getattr(found.coefficient, part) == pytest.approx(expected, rel=1e-3)


def test_missing_covariates_and_wrong_shapes_are_refused():
    labels, covariates, logit = draw(5)
    covariates[3, 0] = np.nan
    with pytest.raises(EvaluationError, match="Impute"):
        likelihood_ratio_test(labels, covariates, logit)
    with pytest.raises(EvaluationError, match="do not fit"):
        likelihood_ratio_test(labels, covariates[:-1], logit)


def test_the_matrix_imputes_and_spells_out_categories():
    patients = pd.DataFrame({"age": [60.0, np.nan, 70.0, 74.0], "sex": ["F", "M", None, "F"]})
    matrix = covariate_matrix(patients, ["age", "sex"])
    assert matrix.shape == (4, 4)
    assert matrix[1, 0] == matrix[2, 0]  # the median, 70, scaled like the others
    np.testing.assert_array_equal(matrix[:, 1:], [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
