"""Tables of scores that contradict themselves, the folds or the cohort are refused."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.errors import EvaluationError, PredictionError
from mri_transfer.evaluation import score_arrays
from mri_transfer.evaluation.tables import check_patients
from mri_transfer.metrics.task import Task


def arrays_of(cohort, scores=None, **changes):
    settings = {
        "folds": cohort.folds,
        "thresholds": cohort.thresholds,
        "task": Task(positive="AD", negative="CN"),
    }
    table = cohort.patient_scores if scores is None else scores
    return score_arrays(table, **(settings | changes))


def test_arrays_hold_every_patient_in_every_repeat_whatever_the_order_of_rows(cohort):
    arrays = arrays_of(cohort)
    shuffled = arrays_of(cohort, cohort.patient_scores.sample(frac=1, random_state=1))
    assert arrays.patient_ids == tuple(sorted(cohort.patients.index)) == shuffled.patient_ids
    assert arrays.scores.shape == (2, 40)
    assert arrays.positive.sum() == 20
    np.testing.assert_array_equal(arrays.scores, shuffled.scores)
    row = cohort.patient_scores.iloc[57]
    place = arrays.repeats.index(row["repeat"]), arrays.patient_ids.index(row["patient_id"])
    assert arrays.scores[place] == row["score"]
    assert arrays.fold[place] == row["fold"]
    assert arrays.predicted[place] == (row["predicted"] == "AD")


def change(table, row, **values):
    table = table.copy()
    for name, value in values.items():
        table.loc[table.index[row], name] = value
    return table


@pytest.mark.parametrize("score", [float("nan"), -0.01, 1.01])
def test_a_score_outside_0_to_1_is_refused_with_its_patient(cohort, score):
    name = cohort.patient_scores["patient_id"].iloc[3]
    with pytest.raises(PredictionError, match=f"between 0 and 1.*{name}"):
        arrays_of(cohort, change(cohort.patient_scores, 3, score=score))


def test_a_patient_scored_twice_in_a_repeat_is_refused(cohort):
    name = cohort.patient_scores["patient_id"].iloc[1]
    table = change(cohort.patient_scores, 0, patient_id=name)
    with pytest.raises(PredictionError, match=f"scored twice in one repeat.*{name}"):
        arrays_of(cohort, table)


def test_a_patient_missing_from_a_repeat_is_refused(cohort):
    with pytest.raises(PredictionError, match="disagree"):
        arrays_of(cohort, cohort.patient_scores.iloc[1:])
    with pytest.raises(PredictionError, match="every repeat"):
        arrays_of(cohort, cohort.patient_scores.iloc[1:], folds=cohort.folds.iloc[1:])


def test_folds_other_than_the_heads_are_refused(cohort):
    folds = change(cohort.folds, 0, fold=(cohort.folds["fold"].iloc[0] + 1) % 4)
    with pytest.raises(PredictionError, match="who was held out"):
        arrays_of(cohort, folds=folds)


def test_one_label_alone_is_refused(cohort):
    table = cohort.patient_scores[cohort.patient_scores["label"] == "AD"]
    with pytest.raises(EvaluationError, match=r"both labels.*only AD"):
        arrays_of(cohort, table)


def test_unknown_and_changing_labels_are_refused(cohort):
    with pytest.raises(PredictionError, match=r"unknown labels.*MCI"):
        arrays_of(cohort, change(cohort.patient_scores, 0, label="MCI"))
    other = "CN" if cohort.patient_scores["label"].iloc[0] == "AD" else "AD"
    with pytest.raises(PredictionError, match="two labels"):
        arrays_of(cohort, change(cohort.patient_scores, 0, label=other))


def test_a_prediction_that_contradicts_its_threshold_is_refused(cohort):
    thresholds = dict.fromkeys(cohort.thresholds, 0.99)
    with pytest.raises(PredictionError, match="contradicts its score and threshold"):
        arrays_of(cohort, thresholds=thresholds)
    with pytest.raises(PredictionError, match="no decision threshold"):
        arrays_of(cohort, thresholds={})


def test_a_score_on_its_threshold_may_lose_its_last_digit(cohort):
    table = change(cohort.patient_scores, 0, score=0.5 - 1e-12, predicted="AD")
    assert arrays_of(cohort, table).predicted.any()


def test_other_tables_are_refused(cohort):
    with pytest.raises(PredictionError, match="no column score"):
        arrays_of(cohort, cohort.patient_scores.drop(columns="score"))
    with pytest.raises(PredictionError, match="no rows"):
        arrays_of(cohort, cohort.patient_scores.iloc[:0])


def test_the_patient_table_must_know_every_scored_patient_under_the_same_label(cohort):
    arrays = arrays_of(cohort)
    patients = cohort.patients
    assert list(check_patients(patients.iloc[::-1], arrays).index) == list(arrays.patient_ids)
    with pytest.raises(PredictionError, match=r"not in the patient table.*p000"):
        check_patients(patients.drop(index="p000"), arrays)
    with pytest.raises(PredictionError, match=r"another label.*p000"):
        check_patients(change(patients, 0, label="AD"), arrays)
    with pytest.raises(PredictionError, match="twice in the patient table"):
        check_patients(patients.iloc[[0, 0, 1]], arrays)
