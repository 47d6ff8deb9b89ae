"""Folds keep patients whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mri_transfer.errors import FoldError
from mri_transfer.training.folds import Folds, inner_folds, make_folds
from mri_transfer.training.settings import FoldSpec

PATIENTS = [f"p{i:02d}" for i in range(23)]
LABELS = ["AD" if i % 3 == 0 else "CN" for i in range(23)]


@pytest.mark.parametrize("seed", range(100))
def test_training_and_test_patients_are_disjoint_and_complete(seed: int) -> None:
    folds = make_folds(PATIENTS, LABELS, spec=FoldSpec(n_folds=4, n_repeats=2), seed=seed)
    outer = list(folds)
    assert len(outer) == 8
    for one in outer:
        assert not set(one.train) & set(one.test)
        assert sorted([*one.train, *one.test]) == list(range(23))
    for repeat in range(2):
        held_out = np.concatenate([one.test for one in outer if one.repeat == repeat])
        assert sorted(held_out) == list(range(23))


def test_every_fold_holds_out_its_share_of_each_label() -> None:
    folds = make_folds(PATIENTS, LABELS, spec=FoldSpec(n_folds=4, n_repeats=3), seed=1)
    positive = np.array(folds.labels) == "AD"
    for one in folds:
        assert abs(positive[one.test].sum() - positive.sum() / 4) <= 1


def test_the_order_of_the_patient_table_is_without_effect() -> None:
    spec = FoldSpec(n_folds=4, n_repeats=2)
    shuffled = np.random.default_rng(3).permutation(23)
    again = make_folds(
        [PATIENTS[i] for i in shuffled], [LABELS[i] for i in shuffled], spec=spec, seed=5
    )
    assert again.table().equals(make_folds(PATIENTS, LABELS, spec=spec, seed=5).table())


def test_repeats_and_seeds_differ() -> None:
    spec = FoldSpec(n_folds=4, n_repeats=2)
    one = make_folds(PATIENTS, LABELS, spec=spec, seed=0).assignment
    two = make_folds(PATIENTS, LABELS, spec=spec, seed=1).assignment
    assert (one[0] != one[1]).any()
    assert (one != two).any()


def test_a_label_with_fewer_patients_than_folds_is_refused_by_name() -> None:
    with pytest.raises(FoldError, match=r"AD: 2.*2 or more|AD: 2.*5 or more"):
        make_folds(
            ["a", "b", "c", "d", "e", "f", "g"],
            ["AD"] * 2 + ["CN"] * 5,
            spec=FoldSpec(n_folds=5),
            seed=0,
        )


def test_one_label_alone_is_refused() -> None:
    with pytest.raises(FoldError, match="two labels"):
        make_folds(["a", "b", "c"], ["CN"] * 3, spec=FoldSpec(n_folds=2), seed=0)


def test_a_patient_named_twice_is_refused() -> None:
    with pytest.raises(FoldError, match="twice"):
        make_folds(["a", "a", "b", "c"], ["AD", "AD", "CN", "CN"], spec=FoldSpec(n_folds=2), seed=0)


def test_folds_read_back_as_written(tmp_path: Path) -> None:
    folds = make_folds(PATIENTS, LABELS, spec=FoldSpec(n_folds=4, n_repeats=2), seed=0)
    folds.write(tmp_path / "folds.csv")
    again = Folds.read(tmp_path / "folds.csv")
    assert again.patient_ids == folds.patient_ids
    assert again.labels == folds.labels
    assert (again.assignment == folds.assignment).all()


def test_a_table_with_a_patient_in_two_folds_is_refused(tmp_path: Path) -> None:
    folds = make_folds(PATIENTS, LABELS, spec=FoldSpec(n_folds=4, n_repeats=1), seed=0)
    path = tmp_path / "folds.csv"
    folds.write(path)
    with path.open("a", encoding="utf-8") as file:
        file.write("0,p05,3,CN\n")
    with pytest.raises(FoldError, match=r"two folds.*p05"):
        Folds.read(path)


def test_inner_folds_split_both_labels_and_shrink_to_the_smaller_class() -> None:
    labels = np.array([0] * 9 + [1] * 3)
    inner = inner_folds(labels, n_folds=5, seed=0)
    assert sorted(np.unique(inner)) == [0, 1, 2]
    for fold in range(3):
        assert (labels[inner == fold] == 1).sum() == 1


def test_inner_folds_need_two_patients_of_each_label() -> None:
    with pytest.raises(FoldError, match="too few training patients"):
        inner_folds(np.array([0, 0, 0, 1]), n_folds=3, seed=0)


def test_against_the_others_keeps_who_is_held_out_when() -> None:
    labels = [("AD", "CN", "MCI")[i % 3] for i in range(23)]
    folds = make_folds(PATIENTS, labels, spec=FoldSpec(n_folds=4, n_repeats=2), seed=0)
    found = folds.against("AD", "not AD")
    assert found.patient_ids == folds.patient_ids
    assert (found.assignment == folds.assignment).all()
    assert found.labels == tuple(name if name == "AD" else "not AD" for name in folds.labels)
    two = make_folds(PATIENTS, LABELS, spec=FoldSpec(n_folds=4, n_repeats=1), seed=0)
    assert two.against("AD", "CN").labels == two.labels
