"""Baselines: fitted on the model's folds, compared patient by patient."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import ConfigurationError
from mri_transfer.evaluation.comparison import (
    MAJORITY,
    BaselineResult,
    compare_baseline,
    find_baselines,
    fold_difference,
)
from mri_transfer.evaluation.settings import CohortTables, EvaluationSpec, Evidence
from mri_transfer.evaluation.tables import ScoreArrays, score_arrays
from mri_transfer.metrics.discrimination import auc
from mri_transfer.metrics.task import Task

SPEC = EvaluationSpec(bootstrap_samples=100, baseline_inner_folds=2)


def _tables(cohort) -> CohortTables:
    return CohortTables(
        patients=cohort.patients, folds=cohort.folds, task=Task(positive="AD", negative="CN")
    )


def _arrays(cohort) -> ScoreArrays:
    return score_arrays(
        cohort.patient_scores,
        folds=cohort.folds,
        thresholds=cohort.thresholds,
        task=Task(positive="AD", negative="CN"),
    )


def _compared(baseline: BaselineResult, cohort) -> dict:
    return compare_baseline(
        baseline,
        _arrays(cohort),
        n_samples=100,
        rng=lambda _name: np.random.default_rng(0),
    )


def _baselines(cohort, **settings) -> dict[str, BaselineResult]:
    spec = dataclasses.replace(SPEC, **settings)
    found = find_baselines(_tables(cohort), spec=spec, evidence=Evidence(), seed=0)
    return {baseline.name: baseline for baseline in found}


def test_baselines_are_the_majority_the_covariates_and_the_image_baselines(cohort) -> None:
    evidence = Evidence(image_baselines={"outline": cohort.patient_scores})
    found = find_baselines(
        _tables(cohort),
        spec=dataclasses.replace(SPEC, covariates=("nwbv",)),
        evidence=evidence,
        seed=0,
    )
    assert [(baseline.name, baseline.kind) for baseline in found] == [
        (MAJORITY, "constant"),
        ("age", "covariates"),
        ("sex", "covariates"),
        ("age + sex", "covariates"),
        ("nwbv", "covariates"),
        ("age + nwbv", "covariates"),
        ("outline", "image"),
    ]
    assert all(baseline.table is not None for baseline in found)


def test_without_baselines_only_those_from_images_remain(cohort) -> None:
    evidence = Evidence(image_baselines={"outline": cohort.patient_scores})
    spec = dataclasses.replace(SPEC, baselines=False)
    found = find_baselines(_tables(cohort), spec=spec, evidence=evidence, seed=0)
    assert [baseline.name for baseline in found] == ["outline"]


def test_a_covariate_that_is_not_there_is_an_error_even_if_nothing_is_fitted(cohort) -> None:
    with pytest.raises(ConfigurationError, match="hippocampus"):
        _baselines(cohort, covariates=("hippocampus",), baselines=False)


@pytest.mark.parametrize(("rarer", "called", "score"), [(0, "AD", 1.0), (1, "CN", 0.0)])
def test_the_majority_is_the_commoner_label_and_ranks_nobody(
    cohort_factory, rarer: int, called: str, score: float
) -> None:
    cohort = cohort_factory(15)
    # Every second patient of one label is gone; folds hold unequal shares of the others.
    kept = [name for i, name in enumerate(cohort.patients.index) if i % 4 != rarer]
    cohort.patients = cohort.patients.loc[kept]
    cohort.folds = cohort.folds[cohort.folds["patient_id"].isin(kept)]
    table = _baselines(cohort)[MAJORITY].table
    assert set(table["predicted"]) == {called}
    assert set(table["score"]) == {score}
    assert len(table) == len(cohort.folds)


def test_a_covariate_that_nobody_has_gives_a_reason_instead_of_figures(cohort) -> None:
    cohort.patients["age"] = np.nan
    baseline = _baselines(cohort)["age"]
    assert baseline.table is None
    assert "missing for every patient" in baseline.reason
    entry = _compared(baseline, cohort)
    for name in ("auc", "balanced_accuracy", "auc_difference", "auc_difference_bootstrap"):
        assert getattr(entry, name).value is None
        assert "missing for every patient" in getattr(entry, name).reason
    assert entry.mcnemar is None


def test_a_baseline_that_is_the_model_differs_by_nothing(cohort) -> None:
    entry = _compared(
        BaselineResult(name="itself", kind="image", table=cohort.patient_scores), cohort
    )
    arrays = _arrays(cohort)
    assert entry.auc.value == pytest.approx(
        np.mean([auc(arrays.positive, row) for row in arrays.scores])
    )
    assert entry.auc_difference.value == 0
    assert entry.auc_difference_bootstrap.value == 0
    assert entry.auc_difference_folds.value == 0
    assert entry.mcnemar.accuracy.p_mid == 1


def test_a_baseline_below_guessing_is_shown_and_not_tested(cohort) -> None:
    baselines = _baselines(cohort)
    table = baselines["age"].table
    turned = dataclasses.replace(baselines["age"], table=table.assign(score=1 - table["score"]))
    better, worse = sorted(
        (_compared(one, cohort) for one in (baselines["age"], turned)),
        key=lambda entry: -entry.auc.value,
    )
    assert better.auc.value > 0.5 > worse.auc.value
    assert better.auc_difference.p is not None
    for name in ("auc_difference", "auc_difference_bootstrap", "auc_difference_folds"):
        assert getattr(worse, name).value is None
        assert "worse than guessing" in getattr(worse, name).reason
    assert worse.auc_difference.p is worse.auc_difference_folds.p is None
    assert worse.mcnemar is None


def test_a_baselines_rows_may_come_in_any_order(cohort) -> None:
    other = cohort.patient_scores.assign(
        score=np.random.default_rng(0).random(len(cohort.patient_scores))
    )
    shuffled = other.sample(frac=1, random_state=1)
    one, two = (
        _compared(BaselineResult(name="other", kind="image", table=table), cohort)
        for table in (other, shuffled)
    )
    assert one == two


def test_the_difference_is_the_models_auc_minus_the_baselines(cohort_factory) -> None:
    cohort = cohort_factory(effect=2.5)
    coin = cohort.patient_scores.assign(score=0.5, predicted="CN")
    entry = _compared(BaselineResult(name="coin", kind="image", table=coin), cohort)
    assert entry.auc.value == 0.5
    arrays = _arrays(cohort)
    ahead = np.mean([auc(arrays.positive, row) for row in arrays.scores]) - 0.5
    for name in ("auc_difference", "auc_difference_bootstrap"):
        assert getattr(entry, name).value == pytest.approx(ahead)
        assert getattr(entry, name).ci_low > 0.2
    assert entry.mcnemar.sensitivity.second_only == 0


def _by_hand(positive: list[int], fold: list[int], scores: list[float]) -> ScoreArrays:
    n = len(positive)
    return ScoreArrays(
        task=Task(positive="AD", negative="CN"),
        patient_ids=tuple(f"p{i}" for i in range(n)),
        repeats=(0,),
        positive=np.array(positive, dtype=bool),
        scores=np.array([scores]),
        predicted=np.array([scores]) > 0.5,
        fold=np.array([fold]),
    )


def test_folds_are_compared_one_by_one_and_those_of_one_label_left_out() -> None:
    """Fold 0: 1 - 0.5; fold 1: 0.5 - 0.5; fold 2 holds one label. Corrected error by hand."""
    arrays = _by_hand([1, 0, 1, 1, 0, 1], [0, 0, 1, 1, 1, 2], [0.9, 0.1, 0.2, 0.9, 0.8, 0.5])
    found = fold_difference(arrays, np.full((1, 6), 0.5), confidence=0.95)
    assert found.value == pytest.approx(0.25)
    assert found.n == 2
    error = np.sqrt(0.125 * (1 / 2 + 2.5 / 3.5))
    assert found.ci_high == pytest.approx(0.25 + 12.706205 * error, rel=1e-6)


def test_no_fold_of_both_labels_is_said() -> None:
    arrays = _by_hand([1, 0], [0, 1], [0.9, 0.1])
    found = fold_difference(arrays, np.full((1, 2), 0.5), confidence=0.95)
    assert found.value is None
    assert "both labels" in found.reason
    assert found.p is None


def test_a_baseline_of_other_patients_cannot_be_compared(cohort) -> None:
    fewer = cohort.patient_scores[cohort.patient_scores["patient_id"] != "p000"]
    with pytest.raises(KeyError, match="p000"):
        BaselineResult(name="fewer", kind="image", table=pd.DataFrame(fewer)).arrays(
            _arrays(cohort)
        )
