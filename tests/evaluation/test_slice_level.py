"""Slice figures: values by slices, intervals by patients."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.errors import PredictionError
from mri_transfer.evaluation import score_arrays, slice_metrics
from mri_transfer.metrics.discrimination import auc
from mri_transfer.metrics.intervals import exact_proportion
from mri_transfer.metrics.task import Task


def arrays_of(cohort):
    return score_arrays(
        cohort.patient_scores,
        folds=cohort.folds,
        thresholds=cohort.thresholds,
        task=Task(positive="AD", negative="CN"),
    )


def metrics_of(cohort, slices="own", n_samples=400):
    return slice_metrics(
        cohort.slice_scores if isinstance(slices, str) else slices,
        arrays_of(cohort),
        n_samples=n_samples,
        rng=lambda name: np.random.default_rng(0),
    )


def test_values_are_those_of_all_slices_of_a_repeat(cohort):
    table = cohort.slice_scores
    # Unequal numbers of slices, so that weighing patients instead of slices would show.
    table = table[~((table["patient_id"] < "p009") & (table["slice"] > 1))]
    table = table.assign(score=table["score"].round(1))
    found = metrics_of(cohort, table)
    truth = table["patient_id"].map(cohort.patients["label"]) == "AD"
    hit = (table["score"] >= 0.5) == truth
    assert found["accuracy"].value == pytest.approx(hit.groupby(table["repeat"]).mean().mean())
    balanced = hit.groupby([table["repeat"], truth]).mean().mean()
    assert found["balanced_accuracy"].value == pytest.approx(balanced)
    areas = [auc(truth[rows.index], rows["score"]) for _, rows in table.groupby("repeat")]
    assert found["auc"].value == pytest.approx(np.mean(areas))
    assert found["auc"].n == len(table) / 2


def test_intervals_equal_those_of_slices_resampled_by_patient(cohort):
    from mri_transfer.metrics.intervals import patient_bootstrap

    table = cohort.slice_scores
    arrays = arrays_of(cohort)
    by_patient = [
        [
            table.loc[(table["repeat"] == r) & (table["patient_id"] == p), "score"].to_numpy()
            for p in arrays.patient_ids
        ]
        for r in arrays.repeats
    ]

    def slow(rows):
        values = []
        for scores in by_patient:
            drawn = np.concatenate([scores[i] for i in rows])
            truth = np.concatenate([np.full(len(scores[i]), arrays.positive[i]) for i in rows])
            values.append(auc(truth, drawn))
        return np.mean(values)

    expected = patient_bootstrap(slow, arrays.positive, n_samples=100, rng=np.random.default_rng(0))
    found = metrics_of(cohort, n_samples=100)["auc"]
    assert found.ci_low == pytest.approx(expected.ci_low)
    assert found.ci_high == pytest.approx(expected.ci_high)


def test_intervals_resample_patients_and_so_are_wider_than_counting_slices(cohort):
    found = metrics_of(cohort)["accuracy"]
    naive = exact_proportion(found.value * found.n, found.n)
    assert found.ci_high - found.ci_low > 1.5 * (naive.ci_high - naive.ci_low)


def test_a_head_without_slice_scores_has_no_slice_figures(cohort):
    found = metrics_of(cohort, None)
    assert [estimate.value for estimate in found.values()] == [None] * 3


def test_tables_that_do_not_fit_are_refused(cohort):
    table = cohort.slice_scores
    with pytest.raises(PredictionError, match="twice"):
        metrics_of(cohort, table.iloc[[0, *range(len(table))]])
    with pytest.raises(PredictionError, match="different patients"):
        metrics_of(cohort, table[table["patient_id"] != "p000"])
    with pytest.raises(PredictionError, match="different patients or folds"):
        metrics_of(cohort, table.assign(fold=0))
    with pytest.raises(PredictionError, match="between 0 and 1"):
        metrics_of(cohort, table.assign(score=np.nan))
    with pytest.raises(PredictionError, match="no column scan_id"):
        metrics_of(cohort, table.drop(columns="scan_id"))
