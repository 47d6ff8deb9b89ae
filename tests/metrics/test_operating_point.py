"""Confusion matrix and rates at a threshold."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.intervals import exact_proportion
from mri_transfer.metrics.operating_point import confusion, rates

LABELS = [1, 1, 1, 0, 0, 0, 0, 0]
CALLED = [1, 1, 0, 1, 0, 0, 0, 0]


def test_confusion_and_rates_by_hand():
    counts = confusion(LABELS, CALLED)
    assert counts.matrix() == ((4.0, 1.0), (1.0, 2.0))
    found = {name: estimate.value for name, estimate in rates(counts).items()}
    assert found == pytest.approx(
        {
            "sensitivity": 2 / 3,
            "specificity": 4 / 5,
            "ppv": 2 / 3,
            "npv": 4 / 5,
            "accuracy": 6 / 8,
            "balanced_accuracy": (2 / 3 + 4 / 5) / 2,
        }
    )


def test_repeats_are_averaged_and_patients_counted_once():
    other = [1, 0, 0, 0, 0, 0, 0, 0]
    counts = confusion(LABELS, [CALLED, other])
    assert counts.matrix() == ((4.5, 0.5), (1.5, 1.5))
    assert counts.n == 8
    found = rates(counts)
    assert found["sensitivity"] == exact_proportion(1.5, 3)
    assert found["accuracy"].n == 8


def test_rates_turn_with_the_labels():
    found = rates(confusion(LABELS, CALLED))
    turned = rates(confusion(1 - np.array(LABELS), 1 - np.array(CALLED)))
    assert turned["sensitivity"] == found["specificity"]
    assert turned["ppv"] == found["npv"]
    assert turned["balanced_accuracy"].value == found["balanced_accuracy"].value


def test_predictive_value_without_predictions_is_undefined_with_its_reason():
    found = rates(confusion(LABELS, np.zeros(8)))
    assert found["ppv"].value is None
    assert found["ppv"].reason == "no patient was called positive"
    assert found["npv"].value == 5 / 8
    assert rates(confusion(LABELS, np.ones(8)))["npv"].reason == "no patient was called negative"


def test_predictions_of_other_patients_are_refused():
    with pytest.raises(EvaluationError, match="do not fit"):
        confusion(LABELS, [1, 0])
