"""Patients of the same age: pairs, weights and what is left of an AUC."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation import standardised_mean_difference
from mri_transfer.evaluation.matching import age_matched
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.balancing import match_pairs, overlap_weights, pair_wins, weighted_auc
from mri_transfer.metrics.discrimination import auc
from mri_transfer.metrics.task import Task


def scored(positive, scores, **columns):
    """A scored cohort without folds to speak of."""
    rows = np.atleast_2d(np.asarray(scores, dtype=float))
    positive = np.asarray(positive, dtype=bool)
    ids = tuple(f"p{i:03d}" for i in range(len(positive)))
    arrays = ScoreArrays(
        task=Task(positive="AD", negative="CN"),
        patient_ids=ids,
        repeats=tuple(range(len(rows))),
        positive=positive,
        scores=rows,
        predicted=rows >= 0.5,
        fold=np.zeros(rows.shape, dtype=np.int64),
    )
    label = np.where(positive, "AD", "CN")
    return arrays, pd.DataFrame({"label": label, **columns}, index=list(ids))


def ageing(n=300, *, disease=0.0, seed=0):
    """Scores that read age, and disease as far as asked for; patients with it are older."""
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 2 == 1
    age = 70 + 8 * positive + 7 * rng.standard_normal(n)
    logit = 0.4 * (age - 74) + disease * positive + rng.standard_normal((2, n))
    sex = rng.choice(["F", "M"], n)
    return scored(positive, 1 / (1 + np.exp(-logit)), age=age, sex=sex)


def matched(arrays, patients, **settings):
    return age_matched(arrays, patients, n_samples=300, rng=np.random.default_rng(1), **settings)


def best_pairing(positive, age, caliper):
    """Try every set of pairs: most pairs, then least distance."""
    upper, lower = np.flatnonzero(positive), np.flatnonzero(~positive)
    best = (0, 0.0)
    for size in range(1, min(len(upper), len(lower)) + 1):
        for some in itertools.combinations(upper, size):
            for others in itertools.permutations(lower, size):
                gaps = [abs(age[a] - age[b]) for a, b in zip(some, others, strict=True)]
                if max(gaps) <= caliper:
                    best = min(best, (-size, sum(gaps)))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_pairs_are_the_best_of_all_pairings(seed):
    rng = np.random.default_rng(seed)
    positive = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    age = rng.uniform(60, 75, 9)
    upper, lower = match_pairs(positive, age, caliper_years=2.5)
    gaps = np.abs(age[upper] - age[lower])
    assert (-len(upper), pytest.approx(gaps.sum())) == best_pairing(positive, age, 2.5)
    assert positive[upper].all()
    assert not positive[lower].any()
    assert len(set(upper)) == len(set(lower)) == len(upper)


def test_a_greedy_choice_would_lose_a_pair():
    # The nearest of 70 is 71, but then 72 is left alone with 68.
    positive = np.array([True, True, False, False])
    age = np.array([70.0, 72.0, 71.0, 68.0])
    upper, lower = match_pairs(positive, age, caliper_years=2.0)
    assert sorted(zip(upper.tolist(), lower.tolist(), strict=True)) == [(0, 3), (1, 2)]


def test_strata_and_missing_ages_are_kept_apart():
    positive = np.array([True, True, True, False, False, False])
    age = np.array([70.0, 71.0, np.nan, 70.0, 71.0, 72.0])
    sex = np.array(["F", "M", "F", "M", "F", ""], dtype=object)
    upper, lower = match_pairs(positive, age, caliper_years=2.5, strata=sex)
    assert sorted(zip(upper.tolist(), lower.tolist(), strict=True)) == [(0, 4), (1, 3)]


def test_overlap_weights_make_the_means_of_covariates_equal():
    # Theorem 3 of Li, Morgan and Zaslavsky, in every resample.
    rng = np.random.default_rng(0)
    positive = rng.random(80) < 0.4
    design = rng.standard_normal((80, 3)) * [5, 1, 0.1] + positive[:, None] * [4, 0.3, 0.02]
    counts = rng.multinomial(80, np.full(80, 1 / 80), size=20).astype(float)
    weights = overlap_weights(positive, design, counts) * counts
    means = [
        (weights[:, part] @ design[part]) / weights[:, part].sum(axis=1)[:, None]
        for part in (positive, ~positive)
    ]
    np.testing.assert_allclose(means[0], means[1], rtol=1e-6, atol=1e-8)


def test_overlap_weights_are_those_of_a_logistic_model():
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    positive = rng.random(60) < 0.5
    design = rng.standard_normal((60, 2)) + positive[:, None]
    counts = rng.integers(0, 3, 60).astype(float)
    model = sm.GLM(
        positive.astype(float), sm.add_constant(design), family=sm.families.Binomial(),
        freq_weights=counts,
    ).fit()  # fmt: skip
    chance = model.predict(sm.add_constant(design))
    expected = np.where(positive, 1 - chance, chance)
    np.testing.assert_allclose(overlap_weights(positive, design, counts[None])[0], expected, 1e-6)


def test_separated_labels_have_no_weights():
    positive = np.arange(20) >= 10
    weights = overlap_weights(positive, np.arange(20.0)[:, None], np.ones((1, 20)))
    assert np.isnan(weights).all()


def test_the_weighted_auc_is_that_of_copied_patients():
    rng = np.random.default_rng(2)
    positive = np.arange(30) % 3 == 0
    scores = np.round(rng.random((2, 30)), 1)
    counts = rng.integers(0, 4, 30)
    wins = pair_wins(scores[:, positive], scores[:, ~positive])
    found = weighted_auc(wins, counts[None, positive] * 1.0, counts[None, ~positive] * 1.0)
    copies = np.repeat(np.arange(30), counts)
    assert found[0] == pytest.approx(auc(positive[copies], scores[:, copies]))
    assert wins.mean() == pytest.approx(auc(positive, scores))


def test_a_score_that_reads_age_alone_falls_to_chance():
    result = matched(*ageing(), caliper_years=0.5)
    assert result.all.auc.value > 0.7
    for part in ("matched", "weighted"):
        figures = getattr(result, part)
        assert abs(figures.auc.value - 0.5) < 0.06
        assert abs(figures.age_auc.value - 0.5) < 0.04
        assert figures.auc.ci_low < 0.5 < figures.auc.ci_high
    assert abs(result.matched.won_within_pairs.value - 0.5) < 0.15


def test_a_score_that_reads_disease_stays_above_chance():
    result = matched(*ageing(disease=3.0))
    for part in ("matched", "weighted"):
        assert getattr(result, part).auc.ci_low > 0.55
        assert getattr(result, part).auc.value < result.all.auc.value
    assert result.matched.won_within_pairs.ci_low > 0.55


def test_the_balance_of_age_is_reported_before_and_after():
    arrays, patients = ageing()
    result = matched(arrays, patients)
    age = patients["age"].to_numpy()
    expected = standardised_mean_difference(age[arrays.positive], age[~arrays.positive])
    assert result.all.age_smd == pytest.approx(expected)
    assert abs(result.matched.age_smd) < 0.2 * expected
    close = matched(arrays, patients, caliper_years=0.5).matched
    assert abs(close.age_smd) < 0.04
    assert abs(close.age_difference_years) < 0.5
    assert result.weighted.age_smd == pytest.approx(0.0, abs=1e-6)
    effective = result.weighted.effective_n
    assert 10 < effective.positive < 150
    assert result.weighted.covariates == ("age", "age squared", "sex")


def test_weights_even_out_the_spread_of_ages_too():
    # One label holds the youngest and the oldest; a score reads the distance from the middle.
    rng = np.random.default_rng(0)
    positive = np.arange(400) % 2 == 1
    age = 72 + np.where(positive, 5.0, 9.0) * rng.standard_normal(400)
    arrays, patients = scored(positive, 1 / (1 + np.abs(age - 72)), age=age)
    result = matched(arrays, patients)
    assert result.all.auc.value > 0.6
    assert abs(result.weighted.auc.value - 0.5) < 0.05


def test_pairs_can_be_of_one_sex():
    arrays, patients = ageing(120)
    free, bound = (matched(arrays, patients, match_sex=on) for on in (False, True))
    assert bound.matched.n_pairs < free.matched.n_pairs
    assert bound.matched_on == ("age", "sex")
    without = matched(arrays, patients.drop(columns="sex"), match_sex=True)
    assert "sex" in without.matched.auc.reason


def test_the_same_seed_gives_the_same_figures():
    arrays, patients = ageing(80)
    assert matched(arrays, patients) == matched(arrays, patients)


def test_patients_without_an_age_are_counted_and_left_out():
    arrays, patients = ageing(100)
    patients.loc[patients.index[:7], "age"] = np.nan
    result = matched(arrays, patients)
    assert (result.n_patients, result.n_age_missing) == (93, 7)
    kept = auc(arrays.positive[7:], arrays.scores[:, 7:])
    assert result.all.auc.value == pytest.approx(kept)


def undefined_case(name):
    arrays, patients = ageing(60)
    if name == "no age":
        return arrays, patients.drop(columns="age")
    if name == "all missing":
        return arrays, patients.assign(age=np.nan)
    if name == "one label":
        return arrays, patients.assign(age=np.where(arrays.positive, 70.0, np.nan))
    return arrays, patients.assign(age=np.where(arrays.positive, 80.0, 60.0) + np.arange(60) / 60)


@pytest.mark.parametrize(
    ("name", "part", "reason"),
    [
        ("no age", "all", "no patient's age is known"),
        ("all missing", "weighted", "no patient's age is known"),
        ("one label", "matched", "30 positive and 0 negative"),
        ("apart", "matched", "0 pairs of patients within 2.5 years; 10 are needed"),
        ("apart", "weighted", "separate the labels"),
    ],
)
def test_what_cannot_be_computed_says_why(name, part, reason):
    result = matched(*undefined_case(name))
    for figure in ("auc", "age_auc"):
        assert getattr(getattr(result, part), figure).value is None
        assert reason in getattr(getattr(result, part), figure).reason
    assert result.sentence


def test_patients_in_another_order_are_refused():
    arrays, patients = ageing(20)
    with pytest.raises(EvaluationError, match="in their order"):
        matched(arrays, patients.iloc[::-1])
