"""The linear head behaves as scikit-learn expects of a classifier."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from mri_transfer.bundle.classifier import PatientClassifier
from mri_transfer.models.heads import LinearHeadSpec, fit_head
from tests.synthetic import feature_table


@parametrize_with_checks([PatientClassifier()])
def test_scikit_learns_own_checks_pass(estimator, check) -> None:
    check(estimator)


def test_it_is_the_linear_head_on_patients_means() -> None:
    table, labels = feature_table()
    names, means = table.patient_means()
    classifier = PatientClassifier(inverse_l2=(1.0, 3.0)).fit(means, labels[: len(names)])
    spec = LinearHeadSpec(inverse_l2=(1.0, 3.0), zones=1)
    head = fit_head(spec, table, labels)
    np.testing.assert_allclose(
        classifier.head_.tensors["weight"], head.tensors["weight"], rtol=1e-4, atol=1e-6
    )


def test_scikit_learn_can_cross_validate_it() -> None:
    table, labels = feature_table(signal=2.0)
    _, means = table.patient_means()
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    scores = cross_val_score(
        PatientClassifier(), means, labels[: len(means)], cv=folds, scoring="roc_auc"
    )
    assert scores.mean() > 0.7


def test_three_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="Only binary"):
        PatientClassifier().fit(np.eye(6), [0, 1, 2, 0, 1, 2])
