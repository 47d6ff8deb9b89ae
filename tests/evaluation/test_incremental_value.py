"""What the image adds: nothing where it repeats age, much where it holds what age does not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mri_transfer.evaluation.comparison import BaselineResult, find_baselines
from mri_transfer.evaluation.incremental_value import incremental_value
from mri_transfer.evaluation.settings import CohortTables, EvaluationSpec, Evidence
from mri_transfer.evaluation.tables import score_arrays
from mri_transfer.metrics.task import Task

SPEC = EvaluationSpec(bootstrap_samples=100, baseline_inner_folds=2)


def _inner(cohort) -> pd.DataFrame:
    """Score the training patients of every outer fold as if an inner head had."""
    score = cohort.patient_scores.set_index(["repeat", "patient_id"])["score"]
    rows = [
        (repeat, fold, name, score[(repeat, name)])
        for (repeat, fold), test in cohort.folds.groupby(["repeat", "fold"])
        for name in sorted(set(cohort.folds["patient_id"]) - set(test["patient_id"]))
    ]
    return pd.DataFrame(rows, columns=["repeat", "fold", "patient_id", "score"])


def _value(cohort, *, inner: pd.DataFrame | None = None, baselines=None, **settings) -> dict:
    spec = dataclasses.replace(SPEC, **settings)
    tables = CohortTables(
        patients=cohort.patients, folds=cohort.folds, task=Task(positive="AD", negative="CN")
    )
    arrays = score_arrays(
        cohort.patient_scores,
        folds=cohort.folds,
        thresholds=cohort.thresholds,
        task=Task(positive="AD", negative="CN"),
    )
    evidence = Evidence(inner_scores=_inner(cohort) if inner is None else inner)
    if baselines is None:
        baselines = find_baselines(tables, spec=spec, evidence=evidence, seed=0)
    return incremental_value(
        arrays,
        baselines,
        tables,
        spec=spec,
        evidence=evidence,
        seed=0,
        rng=lambda _name: np.random.default_rng(0),
    )


def test_only_the_richest_sets_of_covariates_are_asked(cohort) -> None:
    found = _value(cohort, covariates=("nwbv",))
    assert {name: entry.covariates for name, entry in found.items()} == {
        "age + sex": ("age", "sex"),
        "age + nwbv": ("age", "nwbv"),
    }


@pytest.mark.slow
def test_an_image_that_knows_more_than_age_and_sex_adds(cohort_factory) -> None:
    entry = _value(cohort_factory(30, effect=3.0))["age + sex"]
    assert entry.joined_minus_covariates.ci_low > 0.1
    assert entry.joined_minus_covariates_bootstrap.ci_low > 0.1
    assert entry.joined_auc.value > 0.9
    assert entry.reason is None


def test_an_image_that_only_repeats_age_adds_nothing(cohort_factory) -> None:
    cohort = cohort_factory(30)
    age = cohort.patient_scores["patient_id"].map(cohort.patients["age"])
    cohort.patient_scores["score"] = 1 / (1 + np.exp(-(age - 73) / 4))
    cohort.patient_scores["predicted"] = np.where(age >= 73, "AD", "CN")
    entry = _value(cohort)["age + sex"]
    difference = entry.joined_minus_covariates
    assert difference.ci_low < 0 < difference.ci_high or difference.value == 0
    assert abs(difference.value) < 0.05


@pytest.mark.slow
def test_noise_is_not_taken_for_an_addition(cohort_factory) -> None:
    found = []
    for seed in range(4):
        cohort = cohort_factory(20, n_repeats=1, effect=0.0, seed=seed)
        cohort.patients = cohort.patients.drop(columns="nwbv")
        found.append(_value(cohort)["age + sex"].joined_minus_covariates)
    # Covariates that rank worse than guessing are nothing to add to.
    reasons = [one.reason for one in found if one.value is None]
    assert all("worse than guessing" in reason for reason in reasons)
    assert len(reasons) < len(found)
    assert np.mean([one.value for one in found if one.value is not None]) < 0.05


def test_without_inner_scores_there_is_a_reason_and_still_the_likelihood_ratio(cohort) -> None:
    entry = _value(cohort, inner=_inner(cohort).iloc[:0])["age + sex"]
    assert "no inner scores" in entry.reason
    assert entry.joined_auc is None
    assert entry.likelihood_ratio_test.p is not None


def test_baselines_without_scores_and_baselines_from_images_are_not_joined(cohort) -> None:
    baselines = [
        BaselineResult(name="age", kind="covariates", covariates=("age",), reason="nobody has it"),
        BaselineResult(name="outline", kind="image", table=cohort.patient_scores),
    ]
    assert _value(cohort, baselines=baselines) == {}


@pytest.mark.slow
def test_the_joined_model_differs_from_the_image_by_what_covariates_add(cohort_factory) -> None:
    """Covariates that tell the label lift a weak image; the difference to the image says so."""
    cohort = cohort_factory(30, effect=0.3)
    positive = (cohort.patients["label"] == "AD").to_numpy()
    cohort.patients["age"] = 60 + 12 * positive + np.arange(len(positive)) % 5
    entry = _value(cohort)["age + sex"]
    assert entry.joined_minus_image.ci_low > 0.2
    assert abs(entry.joined_minus_covariates.value) < 0.05
    assert entry.joined_minus_image_bootstrap.value == pytest.approx(entry.joined_minus_image.value)
