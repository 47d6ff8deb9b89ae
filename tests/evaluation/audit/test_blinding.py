"""A head that is fitted again without its test patients stays the same, or a check says why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.evaluation.audit.blinding import blind, blinded_refit, flipped, head_differences
from mri_transfer.models.heads import Head, LinearHeadSpec
from mri_transfer.training.cross_validation import cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.search import SearchSpec
from tests.audit_records import cohort, failed, procedure, reader

LABELS = ("AD", "CN")


def _check(refit, trained, table, folds, n_checked=2):
    return blinded_refit(
        refit, reader(table), folds, trained, labels=LABELS, n_checked=n_checked, seed=0
    )


def _train(refit, table, folds):
    return [refit(reader(table), folds, (one.repeat, one.fold)) for one in folds]


def test_blinding_touches_the_test_patients_and_nobody_else() -> None:
    table, folds = cohort(two_sessions=6)
    before = table.features.copy()
    rng = np.random.default_rng(0)
    blind({"max": table}, folds, (0, 1), rng=rng)
    turned = flipped(folds, (0, 1), LABELS)
    test = {
        name for name, fold in zip(folds.patient_ids, folds.assignment[0], strict=True) if fold == 1
    }
    held = np.array([name in test for name in table.patient_ids])
    garbage = table.features
    assert np.array_equal(garbage[~held], before[~held])
    assert np.isfinite(garbage).all()
    assert (garbage[held] != before[held]).all()
    assert 5 < np.std(garbage[held]) / np.std(before[~held]) < 20
    for name, label, other in zip(folds.patient_ids, folds.labels, turned.labels, strict=True):
        assert (label != other) == (name in test)
    assert np.array_equal(turned.assignment, folds.assignment)


def test_an_honest_procedure_passes_and_is_called_once_a_fold() -> None:
    table, folds = cohort()
    calls = []
    refit = procedure()

    def counted(*args):
        calls.append(args[2])
        return refit(*args)

    checks = _check(counted, _train(refit, table, folds), table, folds, n_checked=3)
    assert failed(checks) == set()
    assert len(calls) == 3 + 1
    assert len(set(calls[:3])) == 3
    assert checks[1].n_checked == 3


def test_more_folds_than_there_are_means_all_of_them() -> None:
    table, folds = cohort()
    refit = procedure()
    checks = _check(refit, _train(refit, table, folds), table, folds, n_checked=99)
    assert checks[0].n_checked == 4


def test_a_head_of_another_machine_is_told_from_a_leak() -> None:
    table, folds = cohort()
    refit = procedure()
    stored = [
        dataclasses.replace(
            one,
            head=dataclasses.replace(
                one.head,
                tensors={"weight": np.nextafter(one.head.tensors["weight"], np.float32(9))},
            ),
        )
        for one in _train(refit, table, folds)
    ]
    checks = _check(refit, stored, table, folds)
    assert failed(checks) == {"refit_reproduces"}
    assert checks[0].found[0]["what"] == "tensor weight"


def test_a_procedure_that_minds_the_order_of_rows_is_found() -> None:
    table, folds = cohort()
    refit = procedure()

    def by_order(read, folds, place):
        one = refit(read, folds, place)
        facts = {**one.head.facts, "first": read()["max"].scan_ids[0]}
        return dataclasses.replace(one, head=dataclasses.replace(one.head, facts=facts))

    checks = _check(by_order, _train(by_order, table, folds), table, folds)
    assert failed(checks) == {"row_order"}
    assert checks[2].found[0]["what"] == "fact first"


def test_garbage_is_the_same_however_often_it_is_read() -> None:
    table, folds = cohort()
    refit, seen = procedure(), []

    def twice(read, *others):
        first, second = read()["max"], read()["max"]
        assert first.features is not second.features
        assert first.scan_ids == second.scan_ids
        assert np.array_equal(first.features, second.features)
        seen.append(np.array_equal(first.features, table.features))
        return refit(read, *others)

    assert failed(_check(twice, _train(refit, table, folds), table, folds)) == set()
    assert seen == [False, False, False]


def test_differences_are_named() -> None:
    def fold(kind="tiny", facts=None, **tensors):
        head = Head(kind=kind, tensors=tensors, facts=facts or {"threshold": 0.5})
        return FittedModel(repeat=0, fold=0, head=head)

    one = fold(weight=np.array([1.0, -0.0], dtype=np.float32))
    assert head_differences(one, one) == []
    zero = fold(weight=np.array([1.0, 0.0], dtype=np.float32))
    assert head_differences(one, zero) == [{"what": "tensor weight", "largest_difference": 0.0}]
    other = fold(weight=np.array([1.0, -0.0], dtype=np.float32), facts={"threshold": 0.6, "x": 1})
    assert [found["what"] for found in head_differences(one, other)] == ["fact threshold", "fact x"]
    assert [found["what"] for found in head_differences(one, fold(kind="b"))] == [
        "kind",
        "tensor weight",
    ]


def test_without_a_trained_fold_nothing_can_be_checked() -> None:
    table, folds = cohort()
    with pytest.raises(ValueError, match="no trained fold"):
        _check(procedure(), [], table, folds)


def test_the_librarys_own_cross_validation_owes_nothing_to_test_patients() -> None:
    table, folds = cohort(two_sessions=4)

    def fit(read, folds, only):
        search = SearchSpec(space={"heads.inverse_l2": [[1.0], [100.0]]}, n_trials=2)
        return cross_validate(
            TransferClassifier(head=LinearHeadSpec(zones=1), search=search, n_inner_folds=3),
            lambda: LabelledFeatures.of_folds(read(), folds, "AD"),
            folds,
            seed=0,
            only=only,
        ).trained

    def refit(read, folds, place):
        return fit(read, folds, {place})[0]

    checks = _check(refit, fit(reader(table), folds, None), table, folds)
    assert failed(checks) == set()
