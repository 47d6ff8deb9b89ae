"""Choices and thresholds come from training patients; a random label cannot be learned."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.crossvalidation import CrossValidation, cross_validate, derive_seed
from mri_transfer.evaluation.discrimination import auc
from mri_transfer.folds import Folds, FoldSpec
from mri_transfer.heads import AttentionHeadSpec, LinearHeadSpec, PublishedHeadSpec
from mri_transfer.predictions import PredictionSpec
from tests.synthetic import feature_table, folds_of

SPEC = FoldSpec(n_folds=4, n_repeats=1, n_inner_folds=3)
LINEAR = LinearHeadSpec(inverse_l2=(1.0, 10.0), penalties="inner", zones=1)


def _run(table, folds: Folds, head=LINEAR, **prediction) -> CrossValidation:
    return cross_validate(
        head,
        table,
        folds,
        fold_spec=SPEC,
        prediction_spec=PredictionSpec(**prediction),
        positive_label="AD",
        negative_label="CN",
        seed=0,
    )


def _auc(result: CrossValidation) -> float:
    rows = result.patients.table
    return auc((rows["label"] == "AD").to_numpy().astype(int), rows["score"].to_numpy())


def test_every_patient_and_slice_is_scored_once_a_repeat() -> None:
    table, labels = feature_table(two_sessions=4)
    folds = folds_of(table, labels, n_repeats=2)
    result = _run(table, folds)
    assert len(result.patients.table) == 2 * 40
    assert len(result.slices.table) == 2 * 44 * 8
    sessions = result.patients.table.set_index(["repeat", "patient_id"])["n_slices"]
    assert sessions[(0, "p000")] == 16
    assert sessions[(0, "p020")] == 8


def test_every_head_lists_whom_it_saw_and_never_saw_whom_it_scored() -> None:
    table, labels = feature_table(two_sessions=4)
    result = _run(table, folds_of(table, labels))
    owner = dict(zip(table.scan_ids, table.patient_ids, strict=True))
    rows = result.patients.table
    for one in result.trained:
        scored = set(rows[rows["fold"] == one.fold]["patient_id"])
        seen = set(one.head.facts["training_patients"])
        assert not scored & seen
        assert {owner[scan] for scan in one.head.facts["training_scans"]} == seen
        assert len(scored | seen) == 40


@pytest.mark.parametrize(
    "head",
    [LINEAR, PublishedHeadSpec(hidden=6, epochs=3), AttentionHeadSpec(hidden=4, epochs=(3, 6))],
    ids=["linear", "published", "attention"],
)
def test_nothing_of_a_fold_depends_on_its_test_patients(head) -> None:
    """Choice, threshold and parameters are the same when test patients' labels and scans are."""
    table, labels = feature_table()
    folds = folds_of(table, labels)
    held = folds.assignment[0] == 2
    spoiled = table.features.copy()
    spoiled[held] = 7.0
    swapped = tuple(
        ("CN" if label == "AD" else "AD") if out else label
        for label, out in zip(folds.labels, held, strict=True)
    )
    before = _run(table, folds, head).trained[2].head
    after = (
        _run(
            dataclasses.replace(table, features=spoiled),
            dataclasses.replace(folds, labels=swapped),
            head,
        )
        .trained[2]
        .head
    )
    assert before.facts == after.facts
    for name, values in before.tensors.items():
        assert np.array_equal(values, after.tensors[name])


def test_random_labels_are_predicted_at_chance() -> None:
    scores = []
    for seed in range(12):
        table, _ = feature_table(n_patients=60, signal=0, seed=seed)
        labels = np.random.default_rng(seed).permutation(np.arange(60) % 2)
        scores.append(_auc(_run(table, folds_of(table, labels))))
    assert abs(np.mean(scores) - 0.5) < 0.07


def test_a_real_signal_is_found() -> None:
    table, labels = feature_table(n_patients=80, signal=1.5)
    assert _auc(_run(table, folds_of(table, labels))) > 0.8


def test_a_fixed_threshold_is_used_as_it_is() -> None:
    table, labels = feature_table()
    result = _run(table, folds_of(table, labels), threshold=0.3)
    rows = result.patients.table
    assert {one.threshold for one in result.trained} == {0.3}
    assert ((rows["score"] >= 0.3) == (rows["predicted"] == "AD")).all()


def test_the_same_seed_gives_the_same_scores() -> None:
    table, labels = feature_table()
    folds = folds_of(table, labels)
    head = PublishedHeadSpec(hidden=6, epochs=3)
    first, second = (_run(table, folds, head, threshold=0.5) for _ in range(2))
    assert first.patients.table.equals(second.patients.table)


def test_seeds_of_places_are_distinct() -> None:
    seeds = {derive_seed(s, r, f) for s in range(3) for r in range(5) for f in range(5)}
    assert len(seeds) == 75
