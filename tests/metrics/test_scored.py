"""ScoredPatients: checked where they are made, and nowhere after."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics import scored
from mri_transfer.metrics.calibration import brier, calibration_curve
from mri_transfer.metrics.calibration_slope import calibration_slope
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.discrimination import auc, mean_roc_curve, youden_threshold
from mri_transfer.metrics.precision import precision_summary
from mri_transfer.metrics.scored import ScoredPatients

LABELS = np.arange(40) % 2
SCORES = np.random.default_rng(0).random((3, 40)) * 0.6 + 0.4 * LABELS * 0.5


def test_a_metric_says_the_same_of_checked_patients_and_of_arrays():
    patients = ScoredPatients.of(LABELS, SCORES)
    for metric in (auc, brier, calibration_slope, calibration_curve, youden_threshold):
        assert metric(patients) == metric(LABELS, SCORES)
    np.testing.assert_array_equal(mean_roc_curve(patients), mean_roc_curve(LABELS, SCORES))
    turned = 1.0 - SCORES[:1]
    assert delong_difference(patients, turned) == delong_difference(LABELS, SCORES, turned)


def test_labels_are_checked_once_whatever_is_computed_of_them(monkeypatch):
    checked, check = [], scored.check_labels
    monkeypatch.setattr(scored, "check_labels", lambda labels: checked.append(1) or check(labels))
    patients = ScoredPatients.of(LABELS, SCORES)
    precision_summary(patients, predicted=SCORES > 0.5)
    mean_roc_curve(patients)
    delong_auc(patients.rescored(SCORES[0]))
    assert len(checked) == 1
    precision_summary(LABELS, SCORES, predicted=SCORES > 0.5)
    assert len(checked) == 2


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ([0, 1, 2], [0.1, 0.2, 0.3], "one row of 0 and 1"),
        ([1, 1], [0.1, 0.2], "both labels"),
        ([0, 1], [0.1, 0.2, 0.3], "do not fit"),
        ([0, 1], [0.1, np.inf], "finite"),
    ],
)
def test_arrays_are_refused_by_the_object_and_by_every_metric(labels, scores, words):
    for take in (ScoredPatients.of, auc, brier, delong_auc):
        with pytest.raises(EvaluationError, match=words):
            take(labels, scores)


def test_other_scores_must_be_of_the_same_patients():
    patients = ScoredPatients.of(LABELS, SCORES)
    assert patients.rescored(SCORES[0]).scores.shape == (1, 40)
    with pytest.raises(EvaluationError, match="do not fit"):
        patients.rescored(SCORES[:, :-1])


def test_scores_beyond_0_and_1_rank_and_are_no_probabilities():
    patients = ScoredPatients.of(LABELS, 2 * SCORES)
    assert auc(patients) == auc(LABELS, SCORES)
    with pytest.raises(EvaluationError, match="probabilities"):
        brier(patients)


def test_numbers_of_patients_are_those_of_their_labels():
    patients = ScoredPatients.of([1, 0, 0, 0], [0.4, 0.1, 0.2, 0.3])
    assert (patients.n, patients.n_positive, patients.n_negative, patients.fewest) == (4, 1, 3, 1)
