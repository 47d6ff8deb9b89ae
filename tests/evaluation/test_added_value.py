"""The joined model of image and covariates, inside folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import ConfigurationError, PredictionError
from mri_transfer.evaluation.added_value import joined_scores
from mri_transfer.evaluation.baselines import BaselineSpec, baseline_scores
from mri_transfer.metrics.discrimination import auc
from mri_transfer.metrics.task import Task


def tables(cohort, *, noise=0.0, seed=0):
    """Outer scores of the cohort, and inner ones of every fold's training patients."""
    outer = cohort.patient_scores[["repeat", "fold", "patient_id", "score"]]
    rng = np.random.default_rng(seed)
    inner = []
    for repeat, rows in outer.groupby("repeat"):
        for fold in rows["fold"].unique():
            train = rows[rows["fold"] != fold].assign(repeat=repeat, fold=fold)
            logits = np.log(train["score"] / (1 - train["score"]))
            logits = logits + noise * rng.standard_normal(len(train))
            inner.append(train.assign(score=1 / (1 + np.exp(-logits))))
    return pd.concat(inner, ignore_index=True), outer


def joined(cohort, inner, outer, *covariates, patients=None, folds=None):
    return joined_scores(
        BaselineSpec(covariates=covariates, n_inner_folds=3),
        inner_scores=inner,
        outer_scores=outer,
        patients=cohort.patients if patients is None else patients,
        folds=cohort.folds if folds is None else folds,
        task=Task(positive="AD", negative="CN"),
        seed=0,
    )


def test_a_fold_of_the_joined_model_is_the_regression_written_out(cohort):
    from sklearn.linear_model import LogisticRegression

    inner, outer = tables(cohort)
    table = joined(cohort, inner, outer, "age")
    here = (table["repeat"] == 1) & (table["fold"] == 2)
    train = inner[(inner["repeat"] == 1) & (inner["fold"] == 2)].set_index("patient_id")
    test = outer[(outer["repeat"] == 1) & (outer["fold"] == 2)].set_index("patient_id")

    def design(rows):
        logits = np.log(rows["score"] / (1 - rows["score"]))
        return np.column_stack([cohort.patients.loc[rows.index, "age"], logits])

    x, y = design(train), cohort.patients.loc[train.index, "label"] == "AD"
    mean, spread = x.mean(axis=0), x.std(axis=0)
    model = LogisticRegression(C=1.0, max_iter=1000).fit((x - mean) / spread, y)
    order = table.loc[here, "patient_id"]
    expected = model.predict_proba((design(test.loc[order]) - mean) / spread)[:, 1]
    np.testing.assert_allclose(table.loc[here, "score"], expected, atol=1e-5)


def test_the_table_has_the_shape_of_a_baselines(cohort):
    inner, outer = tables(cohort)
    found = joined(cohort, inner, outer, "age", "sex")
    baseline = baseline_scores(
        BaselineSpec(covariates=("age", "sex"), n_inner_folds=3),
        patients=cohort.patients, folds=cohort.folds,
        task=Task(positive="AD", negative="CN"), seed=0,
    )  # fmt: skip
    keys = ["repeat", "fold", "patient_id", "label", "n_slices"]
    pd.testing.assert_frame_equal(found[keys], baseline[keys])
    assert list(found.columns) == list(baseline.columns)


def area(table):
    return np.mean(
        [auc(rows["label"] == "AD", rows["score"]) for _, rows in table.groupby("repeat")]
    )


def test_an_image_that_knows_more_is_used_and_one_that_knows_nothing_is_not(cohort_factory):
    knows = cohort_factory(60, effect=3.0)
    alone = joined(knows, *(t.assign(score=0.5) for t in tables(knows)), "age")
    both = joined(knows, *tables(knows), "age")
    assert area(both) > area(alone) + 0.1


def test_the_weight_of_the_image_comes_from_the_inner_scores(cohort_factory):
    """Outer scores that shine while the inner ones are noise must not be trusted."""
    made = cohort_factory(60, effect=3.0)
    inner, outer = tables(made)
    noise = inner.assign(score=np.random.default_rng(1).uniform(0.2, 0.8, len(inner)))
    assert area(joined(made, noise, outer, "age")) < area(joined(made, inner, outer, "age")) - 0.05


def test_a_test_patient_touches_no_other_score_of_the_fold(cohort):
    inner, outer = tables(cohort)
    before = joined(cohort, inner, outer, "age")
    first = before["patient_id"].iloc[0]
    fold = (before["repeat"] == 0) & (before["fold"] == 0)
    patients = cohort.patients.copy()
    patients.loc[first, "age"] = 500.0
    changed = outer.copy()
    changed.loc[(changed["patient_id"] == first), "score"] = 0.999
    after = joined(cohort, inner, changed, "age", patients=patients)
    others = fold & (before["patient_id"] != first)
    np.testing.assert_array_equal(after.loc[others, "score"], before.loc[others, "score"])
    mine = fold & (before["patient_id"] == first)
    assert (after.loc[mine, "score"] != before.loc[mine, "score"]).all()


def test_missing_covariates_are_imputed_inside_the_fold(cohort):
    inner, outer = tables(cohort)
    before = joined(cohort, inner, outer, "age")
    fold = before[(before["repeat"] == 0) & (before["fold"] == 0)]["patient_id"]
    patients = cohort.patients.copy()
    patients.loc[fold.iloc[0], "age"] = np.nan
    missing = joined(cohort, inner, outer, "age", patients=patients)
    train = cohort.patients.loc[~cohort.patients.index.isin(fold), "age"]
    patients.loc[fold.iloc[0], "age"] = train.median()
    given = joined(cohort, inner, outer, "age", patients=patients)
    here = (before["repeat"] == 0) & (before["fold"] == 0)
    np.testing.assert_allclose(missing.loc[here, "score"], given.loc[here, "score"])


def test_saturated_scores_stay_finite(cohort):
    inner, outer = tables(cohort)
    inner.loc[::3, "score"], outer.loc[::2, "score"] = 1.0, 0.0
    assert joined(cohort, inner, outer, "age")["score"].between(0, 1).all()


def test_scores_of_the_wrong_patients_are_refused(cohort):
    inner, outer = tables(cohort)
    held_out = outer[(outer["repeat"] == 0) & (outer["fold"] == 0)]
    leaked = pd.concat([inner, held_out], ignore_index=True)
    with pytest.raises(PredictionError, match=r"inner scores of a fold.*10 too many"):
        joined(cohort, leaked, outer, "age")
    with pytest.raises(PredictionError, match=r"1 patients missing"):
        joined(cohort, inner.iloc[1:], outer, "age")
    with pytest.raises(PredictionError, match="two outer scores"):
        joined(cohort, inner, pd.concat([outer, outer.iloc[:1]]), "age")
    with pytest.raises(PredictionError, match="between 0 and 1"):
        joined(cohort, inner.assign(score=1.2), outer, "age")
    with pytest.raises(ConfigurationError, match="not in the manifest"):
        joined(cohort, inner, outer, "height")
