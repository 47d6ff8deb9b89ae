"""Baselines from images: each reads its own description, and no label of a test patient."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mri_transfer.evaluation import image_baselines
from mri_transfer.evaluation.image_baselines import (
    HISTOGRAM,
    OUTLINE,
    VOXELS,
    _rotated,
    descriptor_baselines,
    random_trunk_baseline,
)
from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.heads import LinearHeadSpec
from mri_transfer.scans.descriptors import ScanDescriptors
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.folds import Folds, make_folds
from mri_transfer.training.predictions import PatientScores
from mri_transfer.training.settings import FoldSpec
from tests.synthetic import feature_table, folds_of

NAMES = (OUTLINE, HISTOGRAM, VOXELS)


def _patients(n: int) -> list[str]:
    return [f"p{i:03d}" for i in range(n)]


def _folds(n: int, *, n_folds: int = 2, labels: list[str] | None = None) -> Folds:
    labels = labels or ["AD" if i % 2 else "CN" for i in range(n)]
    return make_folds(_patients(n), labels, spec=FoldSpec(n_folds=n_folds, n_repeats=1), seed=0)


def _descriptors(n: int, *, told_by: str | None = None, seed: int = 0) -> list[ScanDescriptors]:
    """Describe patients, every second one of them AD, by noise; one description tells which."""
    rng = np.random.default_rng(seed)

    def noise(name: str, shape: tuple[int, ...], i: int) -> np.ndarray:
        values = rng.standard_normal(shape)
        if told_by == name:
            values.flat[:4] += 4 * (i % 2)
        return values.astype(np.float32)

    return [
        ScanDescriptors(
            outline=noise(OUTLINE, (6,), i),
            histogram=noise(HISTOGRAM, (8,), i),
            voxels=noise(VOXELS, (3, 4, 2), i),
        )
        for i in range(n)
    ]


def _scored(descriptors: list[ScanDescriptors], folds: Folds, names: list[str] | None = None):
    return descriptor_baselines(
        descriptors,
        names or list(folds.patient_ids),
        folds=folds,
        positive_label="AD",
        negative_label="CN",
        seed=0,
    )


def _auc(table: pd.DataFrame) -> float:
    return float(auc((table["label"] == "AD").to_numpy().astype(int), table["score"].to_numpy()))


@pytest.fixture
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer fits, where the choice of the penalty is not the matter."""
    monkeypatch.setattr(image_baselines, "_SVM_C", [1.0])
    monkeypatch.setattr(image_baselines, "_INVERSE_L2", [0.1])
    monkeypatch.setattr(image_baselines, "_INNER_FOLDS", 2)


@pytest.mark.parametrize("told_by", NAMES)
@pytest.mark.usefixtures("one_penalty")
def test_a_label_is_told_by_the_description_that_holds_it_and_by_no_other(told_by: str) -> None:
    found = _scored(_descriptors(40, told_by=told_by), _folds(40))
    assert _auc(found[told_by]) > 0.95
    assert all(_auc(found[name]) < 0.8 for name in NAMES if name != told_by)


@pytest.mark.usefixtures("one_penalty")
def test_random_labels_are_predicted_at_chance() -> None:
    found = {name: [] for name in NAMES}
    for seed in range(6):
        labels = list(np.random.default_rng(seed).permutation(["AD", "CN"] * 20))
        folds = _folds(40, labels=labels)
        for name, table in _scored(_descriptors(40, seed=seed), folds).items():
            found[name].append(_auc(table))
    for name in NAMES:
        assert abs(np.mean(found[name]) - 0.5) < 0.12, name


@pytest.mark.usefixtures("one_penalty")
def test_a_test_patients_label_changes_no_score_of_its_fold() -> None:
    folds = _folds(24)
    held = folds.assignment[0] == 1
    flipped = tuple(
        {"AD": "CN", "CN": "AD"}[label] if out else label
        for label, out in zip(folds.labels, held, strict=True)
    )
    descriptors = _descriptors(24, told_by=OUTLINE)
    before = _scored(descriptors, folds)
    after = _scored(descriptors, dataclasses.replace(folds, labels=flipped))
    for name in NAMES:
        mine = before[name]["fold"] == 1
        columns = ["patient_id", "score", "predicted"]
        assert before[name][mine][columns].equals(after[name][mine][columns])
        assert not before[name][~mine]["score"].equals(after[name][~mine]["score"])


@pytest.mark.usefixtures("one_penalty")
def test_the_tables_are_those_of_predictions() -> None:
    """Two scans of a patient are averaged, and all labels but one are the others."""
    labels = [("AD", "CN", "MCI")[i % 3] for i in range(24)]
    folds = _folds(24, labels=labels).against("AD", "not AD")
    descriptors = _descriptors(24)
    twice = [*descriptors, descriptors[0], descriptors[5]]
    found = descriptor_baselines(
        twice,
        [*folds.patient_ids, "p000", "p005"],
        folds=folds,
        positive_label="AD",
        negative_label="not AD",
        seed=0,
    )
    assert tuple(found) == NAMES
    for name, table in found.items():
        PatientScores(table=table)
        assert sorted(table["patient_id"]) == _patients(24)
        assert set(table["label"]) == set(table["predicted"]) | {"AD"} == {"AD", "not AD"}, name
    alone = descriptor_baselines(
        descriptors,
        list(folds.patient_ids),
        folds=folds,
        positive_label="AD",
        negative_label="not AD",
        seed=0,
    )
    for name in NAMES:
        np.testing.assert_allclose(found[name]["score"], alone[name]["score"], atol=1e-12)


@pytest.mark.parametrize("n", [8, 10])
def test_a_cohort_with_a_few_patients_of_a_label_is_scored_all_the_same(n: int) -> None:
    """Of 4 to 6 training patients some inner fits see one patient of a label."""
    for table in _scored(_descriptors(n, told_by=OUTLINE), _folds(n)).values():
        assert table["score"].between(0, 1).all()


def test_the_rotation_keeps_inner_products_and_unit_length() -> None:
    rows = pd.DataFrame(np.random.default_rng(0).standard_normal((9, 500)) + 2, index=_patients(9))
    rotated = _rotated(rows)
    unit = rows.to_numpy() / np.linalg.norm(rows.to_numpy(), axis=1, keepdims=True)
    assert rotated.shape == (9, 9)
    assert list(rotated.index) == list(rows.index)
    np.testing.assert_allclose(rotated.to_numpy() @ rotated.to_numpy().T, unit @ unit.T, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(rotated, axis=1), 1)


def test_an_empty_scan_is_no_reason_to_divide_by_zero() -> None:
    rows = pd.DataFrame(np.vstack([np.zeros(5), np.ones(5)]))
    assert np.isfinite(_rotated(rows).to_numpy()).all()


def test_the_untrained_trunks_features_are_read_by_the_configured_head() -> None:
    table, labels = feature_table(signal=3.0)
    folds = folds_of(table, labels)
    estimator = TransferClassifier(head=LinearHeadSpec(zones=1), n_inner_folds=3)

    def scored(signal: float) -> float:
        grown, _ = feature_table(signal=signal)
        data = LabelledFeatures.of_folds({"max": grown}, folds, "AD")
        found = random_trunk_baseline(estimator, data, folds, seed=0)
        assert sorted(found["patient_id"]) == list(folds.patient_ids)
        return _auc(found)

    assert scored(3.0) > 0.9
    assert scored(0.0) < 0.8
