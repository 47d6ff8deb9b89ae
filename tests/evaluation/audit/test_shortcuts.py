"""What features tell within a label, what goes with the label, and what follows from both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.audit.probes import probe_age, probe_levels
from mri_transfer.evaluation.audit.shortcuts import find_shortcuts


def cohort(n=80, d=60, *, sex_signal=0.0, age_signal=0.0, disease=0.0, skew=0.0, seed=0):
    """Features with what is asked for; `skew` makes patients with the disease older and male."""
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 2 == 1
    male = rng.random(n) < 0.5 + skew * (positive - 0.5)
    age = 70 + 12 * skew * positive + 7 * rng.standard_normal(n)
    directions = rng.standard_normal((3, d)) / np.sqrt(d)
    planted = np.column_stack(
        [5 * sex_signal * male, age_signal * (age - 75), 8 * disease * positive]
    )
    features = rng.standard_normal((n, d)) + planted @ directions * 2
    patients = pd.DataFrame(
        {
            "label": np.where(positive, "AD", "CN"),
            "sex": np.where(male, "M", "F"),
            "age": age,
        },
        index=pd.Index([f"p{i:03d}" for i in range(n)], name="patient_id"),
    )
    return features, patients


def probe(features, patients, n_permutations=19, **settings):
    result = find_shortcuts(
        features, patients, seed=0, n_permutations=n_permutations, n_samples=200, **settings
    )
    return {entry.covariate: entry for entry in result.covariates}


def test_a_planted_covariate_is_read_and_another_is_not():
    entries = probe(*cohort(sex_signal=0.3), n_permutations=19)
    assert entries["sex"].pooled.auc.value > 0.85
    assert entries["sex"].pooled.auc.ci_low > 0.7
    assert entries["sex"].p == pytest.approx(1 / 20)
    assert entries["age"].p > 0.05
    assert entries["age"].pooled.r2.value < 0.1
    assert entries["age"].verdict == "not shown"
    assert entries["sex"].verdict in {"readable", "possible"}


def test_a_planted_age_is_read_in_years():
    figures = probe(*cohort(age_signal=0.15))["age"]
    assert figures.pooled.r2.value > 0.4
    assert figures.pooled.correlation.value > 0.6
    assert 1.0 < figures.pooled.mae_years.value < 5.0
    assert figures.p == pytest.approx(1 / 20)
    for label in ("AD", "CN"):
        assert figures.within[label].n == 40
        assert figures.within[label].correlation.ci_low > 0.0


def test_the_label_does_not_help_to_read_a_covariate_that_goes_with_it():
    # The features show nothing but the disease. A probe over both labels would read sex and age
    # by way of it; within a label there is nothing to read.
    features, patients = cohort(n=160, disease=2.0, skew=0.6)
    entries = probe(features, patients)
    assert abs(entries["sex"].label_association.value) > 0.4
    for name in ("sex", "age"):
        assert entries[name].p > 0.05
        assert entries[name].verdict == "not shown"
    everybody = [np.arange(160)]
    levels = patients["sex"].to_numpy(dtype=object)
    naive = probe_levels(features, levels, everybody, n_folds=5, seed=0)
    assert naive.value("auc") > 0.65
    naive_age = probe_age(features, patients["age"].to_numpy(), everybody, n_folds=5, seed=0)
    assert naive_age.value("correlation") > 0.3


def test_a_shortcut_needs_both_features_and_label():
    features, patients = cohort(sex_signal=0.5, skew=0.5)
    entry = probe(features, patients.drop(columns="age"), n_permutations=19)["sex"]
    assert entry.verdict == "possible"
    _, patients = cohort()
    # As many of each sex in each label.
    male = np.arange(80) % 4 < 2
    features = np.random.default_rng(0).standard_normal((80, 60))
    features[:, 0] += 6 * male
    patients = patients.assign(sex=np.where(male, "M", "F")).drop(columns="age")
    entry = probe(features, patients, n_permutations=19)["sex"]
    assert entry.label_association.value == pytest.approx(0.0)
    assert entry.verdict == "readable"
    assert "is hardly associated with the label" in entry.sentence


def test_a_site_that_is_the_label_cannot_be_told_from_it():
    features, patients = cohort()
    patients["site"] = np.where(patients["label"] == "AD", "clinic", "volunteers")
    entry = probe(features, patients, n_permutations=1)["site"]
    assert entry.verdict == "confounded"
    assert entry.label_association.value == pytest.approx(1.0)
    assert entry.p is None
    assert entry.pooled.auc.value is None


def test_under_no_relation_p_values_are_spread_evenly():
    found = []
    for seed in range(12):
        features, patients = cohort(n=40, d=10, seed=seed)
        entries = probe(features, patients.drop(columns="sex"), n_permutations=9)
        found.append(entries["age"].p)
    # Multiples of a tenth, .55 on average.
    assert 0.3 < np.mean(found) < 0.8


def slow_auc(scores, truth):
    pairs = [(a, b) for a in scores[truth] for b in scores[~truth]]
    return float(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]))


def test_the_probe_of_levels_is_a_plain_scikit_learn_pipeline():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    features, patients = cohort(d=90, sex_signal=0.5)
    levels = patients["sex"].to_numpy(dtype=object)
    groups = [np.flatnonzero(patients["label"] == label) for label in ("AD", "CN")]
    model = make_pipeline(
        StandardScaler(),
        FunctionTransformer(lambda rows: rows / np.sqrt(90)),
        LogisticRegression(C=30.0, class_weight="balanced", max_iter=1000),
    )
    areas, recalls = [], []
    for group in groups:
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        chance = cross_val_predict(
            model, features[group], levels[group].astype(str), cv=folds, method="predict_proba"
        )[:, 1]
        male = levels[group] == "M"
        areas.append(slow_auc(chance, male))
        recalls.append(((chance[male] > 0.5).mean() + (chance[~male] < 0.5).mean()) / 2)
    found = probe_levels(features, levels, groups, n_folds=5, seed=0)
    assert found.value("auc") == pytest.approx(np.mean(areas), abs=0.005)
    assert found.value("balanced_accuracy") == pytest.approx(np.mean(recalls), abs=0.02)


def test_the_probe_of_age_is_a_plain_scikit_learn_pipeline():
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import mean_absolute_error, r2_score
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    features, patients = cohort(d=90, age_signal=0.3)
    age, group = patients["age"].to_numpy(), np.flatnonzero(patients["label"] == "AD")
    model = make_pipeline(
        StandardScaler(),
        FunctionTransformer(lambda rows: rows / np.sqrt(90)),
        RidgeCV(alphas=np.logspace(-2, 2, 9)),
    )
    folds = KFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, features[group], age[group], cv=folds)
    found = probe_age(features, age, [group], n_folds=5, seed=0)
    assert found.value("r2") == pytest.approx(r2_score(age[group], predicted), abs=1e-6)
    assert found.value("mae_years") == pytest.approx(mean_absolute_error(age[group], predicted))
    expected = np.corrcoef(age[group], predicted)[0, 1]
    assert found.value("correlation") == pytest.approx(expected, abs=1e-6)


def test_weights_count_patients_as_often_as_they_are_drawn():
    features, patients = cohort(age_signal=0.3)
    age = patients["age"].to_numpy()
    group = np.arange(40)
    found = probe_age(features, age, [group], n_folds=5, seed=0)
    weights = np.zeros((1, 40))
    weights[0, :20] = 2.0
    half = probe_age(features, age, [group], n_folds=5, seed=0)
    alone = np.zeros((1, 40))
    alone[0, :20] = 1.0
    for name in ("r2", "correlation", "mae_years"):
        assert found.figures[name](weights) == pytest.approx(half.figures[name](alone))
        assert found.figures[name](weights) != pytest.approx(found.value(name))


def test_the_score_is_compared_with_covariates_within_labels():
    from scipy.stats import kruskal, spearmanr

    features, patients = cohort(n=100)
    positive = patients["label"].to_numpy() == "AD"
    age, rng = patients["age"].to_numpy(), np.random.default_rng(1)
    score = 1 / (1 + np.exp(-0.2 * (age - 70) + rng.standard_normal((2, 100))))
    entries = probe(features, patients, n_permutations=1, scores=score)
    found = entries["age"].score["AD"].spearman
    expected = spearmanr(score.mean(axis=0)[positive], age[positive]).statistic
    assert found.value == pytest.approx(expected)
    assert 0.2 < found.ci_low < found.value < found.ci_high
    male = patients["sex"].to_numpy() == "M"
    mean = score.mean(axis=0)
    by_sex = entries["sex"].score["CN"]
    assert by_sex.mean_score["M"].value == pytest.approx(mean[~positive & male].mean())
    expected = kruskal(mean[~positive & male], mean[~positive & ~male]).pvalue
    assert by_sex.p == pytest.approx(expected)
    assert probe(features, patients, n_permutations=1)["age"].score == {}


def test_small_levels_and_missing_values_are_left_out():
    features, patients = cohort(n=100, d=20)
    patients = patients.drop(columns=["age", "sex"])
    site = np.array(["A", "A", "B", "B"] * 25, dtype=object)
    site[:6], site[6:10] = "rare", None
    entries = probe(features, patients.assign(site=site), n_permutations=3)
    assert entries["site"].n == 96
    assert entries["site"].within["AD"].n == 45
    assert entries["site"].label_association.counts["AD"]["rare"] == 3
    few = np.where(np.arange(100) < 92, "A", "B")
    entry = probe(features, patients.assign(site=few), n_permutations=3)["site"]
    assert entry.verdict == "unknown"
    assert "10 patients of each of two levels" in entry.within["AD"].auc.reason
    nothing = probe(features, patients.assign(site=pd.NA), n_permutations=3)["site"]
    assert nothing.sentence == "No patient's site is recorded."


def test_three_sites_are_told_apart():
    features, patients = cohort(n=120)
    site = np.arange(120) // 2 % 3
    features[:, :3] += 4 * np.eye(3)[site]
    patients = patients.assign(site=[f"s{i}" for i in site]).drop(columns=["age", "sex"])
    entry = probe(features, patients, n_permutations=19)["site"]
    assert entry.pooled.auc.value > 0.85
    assert entry.pooled.balanced_accuracy.value > 0.6
    assert entry.p == pytest.approx(0.05)


def test_constant_features_tell_nothing():
    _, patients = cohort()
    entries = probe(np.ones((80, 5)), patients, n_permutations=3)
    assert entries["sex"].pooled.auc.value == pytest.approx(0.5, abs=0.15)
    assert entries["sex"].verdict == entries["age"].verdict == "not shown"


def test_the_same_seed_gives_the_same_entries_whatever_else_is_probed():
    features, patients = cohort(n=60)
    both = probe(features, patients, n_permutations=5)
    assert both == probe(features, patients, n_permutations=5)
    assert both["sex"] == probe(features, patients.drop(columns="age"), n_permutations=5)["sex"]


def test_features_and_scores_that_do_not_fit_are_refused():
    features, patients = cohort()
    with pytest.raises(EvaluationError, match="do not fit"):
        probe(features[:-1], patients)
    with pytest.raises(EvaluationError, match="do not fit"):
        probe(features, patients, scores=np.zeros(79))
    features[0, 0] = np.nan
    with pytest.raises(EvaluationError, match="finite"):
        probe(features, patients)
