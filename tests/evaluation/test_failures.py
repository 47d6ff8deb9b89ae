"""The patients that are scored worst, and what is told of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.failures import worst_patients
from mri_transfer.evaluation.tables import ScoreArrays, score_arrays
from mri_transfer.metrics.task import Task


@pytest.fixture
def hand():
    """Four patients, two repeats; losses by hand."""
    scores = np.array([[0.9, 0.8, 0.4, 0.0], [0.7, 0.6, 0.1, 0.5]])
    arrays = ScoreArrays(
        task=Task(positive="AD", negative="CN"),
        patient_ids=("a", "b", "c", "d"),
        repeats=(0, 1),
        positive=np.array([True, False, True, True]),
        scores=scores,
        predicted=scores >= 0.5,
        fold=np.zeros((2, 4), dtype=np.int64),
    )
    patients = pd.DataFrame(
        {
            "label": ["AD", "CN", "AD", "AD"],
            "age": [70.0, np.nan, 80.0, 81.0],
            "sex": pd.Series(["F", None, "M", "M"], dtype="string").to_numpy(),
            "n_scans": [1, 2, 1, 1],
        },
        index=["a", "b", "c", "d"],
    )
    return arrays, patients


def test_the_largest_loss_comes_first(hand):
    rows = worst_patients(*hand, None)
    assert [row.patient_id for row in rows] == ["d", "c", "b", "a"]
    by_name = {row.patient_id: row for row in rows}
    assert by_name["a"].loss == pytest.approx(-(np.log(0.9) + np.log(0.7)) / 2)
    assert by_name["b"].loss == pytest.approx(-(np.log(0.2) + np.log(0.4)) / 2)
    # A score of 0 for the own label costs a million to one, not infinity.
    assert by_name["d"].loss == pytest.approx(-(np.log(1e-6) + np.log(0.5)) / 2)


def test_a_row_tells_scores_errors_and_covariates(hand):
    rows = {row.patient_id: row for row in worst_patients(*hand, None)}
    row = rows["b"]
    assert (row.label, row.called_wrongly) == ("CN", 1.0)
    assert (row.score_low, row.score_high) == (0.6, 0.8)
    assert row.mean_score == pytest.approx(0.7)
    assert row.covariates == {"age": None, "sex": None, "n_scans": 2}
    assert rows["d"].called_wrongly == 0.5
    assert rows["a"].called_wrongly == 0.0
    assert row.slices == row.lowest_slices == row.highest_slices == ()


def test_slices_are_averaged_over_repeats_and_ranked(hand):
    rows = [
        (repeat, "d", "d_s1", number, 2.0 * number, score + 0.1 * repeat)
        for repeat in (0, 1)
        for number, score in enumerate([0.5, 0.1, 0.7, 0.3, 0.2])
    ]
    rows.append((0, "a", "a_s1", 0, 0.0, 0.99))
    columns = ["repeat", "patient_id", "scan_id", "slice", "z_mm", "score"]
    table = pd.DataFrame(rows, columns=columns).sample(frac=1.0, random_state=0)
    row = worst_patients(*hand, table, n=1)[0]
    assert [one.slice for one in row.slices] == [0, 1, 2, 3, 4]
    assert [one.z_mm for one in row.slices] == [0.0, 2.0, 4.0, 6.0, 8.0]
    scores = [one.score for one in row.slices]
    assert scores == pytest.approx([0.55, 0.15, 0.75, 0.35, 0.25])
    assert [one.slice for one in row.lowest_slices] == [1, 4, 3]
    assert [one.slice for one in row.highest_slices] == [2, 0, 3]


def test_as_many_patients_as_asked_for_in_a_settled_order(cohort):
    arrays = score_arrays(
        cohort.patient_scores,
        folds=cohort.folds,
        thresholds=cohort.thresholds,
        task=Task(positive="AD", negative="CN"),
    )
    patients = cohort.patients.loc[list(arrays.patient_ids)]
    rows = worst_patients(arrays, patients, cohort.slice_scores, n=7)
    assert len(rows) == 7
    losses = [row.loss for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert all(len(row.slices) == 6 for row in rows)
    assert len(worst_patients(arrays, patients, None, n=1000)) == arrays.n
    with pytest.raises(EvaluationError, match="in their order"):
        worst_patients(arrays, patients.iloc[::-1], None)
