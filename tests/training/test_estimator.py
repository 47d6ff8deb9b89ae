"""The estimator behaves as scikit-learn expects, and is the one that folds are fitted with."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from mri_transfer.models.heads import AttentionHeadSpec, LinearHeadSpec
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.engine import fit_folds
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.settings import PredictionSpec
from tests.synthetic import feature_table, folds_of

BARE = PredictionSpec(threshold=0.5, recalibration=("none",))


def _known_departures(estimator: TransferClassifier) -> dict[str, str]:
    if estimator.predictions is BARE:
        return {}
    return {
        "check_classifiers_train": "predict cuts at Youden's threshold, not at the likelier label"
    }


@parametrize_with_checks(
    [TransferClassifier(predictions=BARE), TransferClassifier()],
    expected_failed_checks=_known_departures,
)
def test_scikit_learns_own_checks_pass(estimator, check) -> None:
    check(estimator)


def test_a_clone_has_the_same_parameters_and_nothing_fitted() -> None:
    table, labels = feature_table()
    fitted = TransferClassifier(head=LinearHeadSpec(zones=1), n_inner_folds=3)
    fitted.fit(table.features, labels)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "result_")
    assert hasattr(fitted, "model_")


def test_it_is_cross_validated_by_patient_in_a_notebook() -> None:
    table, labels = feature_table(signal=2.0, two_sessions=10)
    scores = cross_val_score(
        TransferClassifier(), table.features, labels, groups=table.patient_ids,
        cv=GroupKFold(4, shuffle=True, random_state=0), scoring="roc_auc",
    )  # fmt: skip
    assert len(scores) == 4
    assert scores.mean() > 0.8


def test_a_grid_search_tries_heads() -> None:
    table, labels = feature_table(n_patients=24, signal=2.0)
    heads = [LinearHeadSpec(inverse_l2=(1.0,)), AttentionHeadSpec(hidden=2, epochs=2)]
    search = GridSearchCV(TransferClassifier(predictions=BARE), {"head": heads}, cv=2)
    search.fit(table.features, labels)
    assert search.best_params_["head"] in heads


def test_arrays_and_folds_lead_to_the_same_model() -> None:
    """`fit` on a fold's training scans is what `fit_folds` does there, to the last byte."""
    table, labels = feature_table(two_sessions=5)
    folds = folds_of(table, labels)
    data = LabelledFeatures.of_folds({"max": table}, folds, "AD")
    outer = list(folds)[1]
    estimator = TransferClassifier(n_inner_folds=3, random_state=7)
    (expected,) = fit_folds(estimator, data, [outer], seed=7, place=lambda _: ())
    held_out = {folds.patient_ids[i] for i in outer.test}
    test = np.array([name in held_out for name in table.patient_ids])
    owners = np.array(table.patient_ids)
    fitted = clone(estimator).fit(table.features[~test], labels[~test], groups=owners[~test])
    for name, values in expected.fit.model.head.tensors.items():
        assert values.tobytes() == fitted.model_.head.tensors[name].tobytes()
    assert fitted.threshold_ == expected.fit.model.threshold
    found = dict(
        zip(
            owners[test],
            fitted.predict_proba(table.features[test], groups=owners[test])[:, 1],
            strict=True,
        )
    )
    inference = expected.held_out
    assert found == expected.fit.model.patients(inference.output, inference.owners)


def test_scans_of_a_patient_have_the_patients_score() -> None:
    table, labels = feature_table(two_sessions=5)
    fitted = TransferClassifier().fit(table.features, labels, groups=table.patient_ids)
    scores = fitted.predict_proba(table.features, groups=table.patient_ids)[:, 1]
    assert scores[0] == scores[40]
    assert set(np.unique(fitted.predict(table.features))) == {0, 1}
    with pytest.raises(ValueError, match="one label: p000"):
        TransferClassifier().fit(
            table.features, [1 - labels[0], *labels[1:]], groups=table.patient_ids
        )


def test_three_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="Only binary"):
        TransferClassifier().fit(np.eye(6), [0, 1, 2, 0, 1, 2])
