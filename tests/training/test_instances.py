"""Instances of another cohort: in every training set, with a weight, and nowhere else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.heads import AttentionHeadSpec, LinearHeadSpec, MlpHeadSpec, fit_head
from mri_transfer.training.cross_validation import cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.fit_record import FitRecord
from mri_transfer.training.folds import Folds
from mri_transfer.training.instances import Instances
from tests.synthetic import feature_table, folds_of

HEADS = [
    LinearHeadSpec(inverse_l2=(0.3,), zones=1),
    LinearHeadSpec(inverse_l2=(0.1, 1.0), zones=2, scaling="feature", balanced=True),
    AttentionHeadSpec(hidden=4, epochs=20),
]


def _cohort(**settings) -> tuple[LabelledFeatures, Folds]:
    table, labels = feature_table(n_slices=4, n_features=12, **settings)
    folds = folds_of(table, labels)
    return LabelledFeatures.of_folds({"max": table}, folds, "AD"), folds


def _source(*, weight: float = 0.5, n_patients: int = 20, seed: int = 9, **settings) -> Instances:
    table, labels = feature_table(
        n_slices=4, n_features=12, n_patients=n_patients, seed=seed, **settings
    )
    table = dataclasses.replace(
        table,
        patient_ids=tuple(f"source-{name}" for name in table.patient_ids),
        scan_ids=tuple(f"source-{name}" for name in table.scan_ids),
        scan_sha256=tuple(f"{10**6 + i:064x}" for i in range(len(table.scan_ids))),
    )
    words = dict(zip(table.patient_ids, ("AD" if one else "CN" for one in labels), strict=True))
    return Instances(tables={"max": table}, labels=words, weight=weight)


@pytest.mark.parametrize("spec", HEADS, ids=["linear", "zones", "attention"])
def test_a_weight_of_two_is_the_patient_twice(spec) -> None:
    table, labels = feature_table(n_slices=4, n_features=6, n_patients=20)
    twice = table.patient_ids[:7]
    heavy = np.where(np.isin(np.array(table.patient_ids), twice), 2.0, 1.0)
    rows = [i for i, name in enumerate(table.patient_ids) if name in twice]
    copies = dataclasses.replace(
        table,
        patient_ids=tuple(f"copy-{table.patient_ids[i]}" for i in rows),
        scan_ids=tuple(f"copy-{table.scan_ids[i]}" for i in rows),
        scan_sha256=("",) * len(rows),
        features=table.features[rows],
        z_mm=table.z_mm[rows],
    )
    weighted = fit_head(spec, table, labels, weights=heavy)
    doubled = fit_head(spec, table.joined(copies), np.concatenate([labels, labels[rows]]))
    for name, values in doubled.tensors.items():
        np.testing.assert_allclose(weighted.tensors[name], values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("spec", [*HEADS, MlpHeadSpec(hidden=8, epochs=2)])
def test_equal_weights_change_nothing_and_small_ones_next_to_nothing(spec) -> None:
    table, labels = feature_table(n_slices=4, n_features=6, n_patients=20)
    plain = fit_head(spec, table, labels, seed=2)
    equal = fit_head(spec, table, labels, weights=np.ones(len(labels)), seed=2)
    for name, values in plain.tensors.items():
        np.testing.assert_allclose(equal.tensors[name], values, rtol=1e-4, atol=1e-5)
    if spec.kind == "mlp":
        return  # its order of slices depends on how many there are
    other, turned = feature_table(n_slices=4, n_features=6, n_patients=20, seed=5)
    faint = np.concatenate([np.ones(len(labels)), np.full(len(turned), 1e-9)])
    renamed = dataclasses.replace(other, patient_ids=tuple("x" + n for n in other.patient_ids))
    both = fit_head(
        spec, table.joined(renamed), np.concatenate([labels, 1 - turned]), weights=faint, seed=2
    )
    for name, values in plain.tensors.items():
        np.testing.assert_allclose(both.tensors[name], values, rtol=1e-3, atol=1e-4)


def test_slices_of_a_patient_that_weighs_nothing_do_not_move_the_published_head() -> None:
    table, labels = feature_table(n_slices=4, n_features=6, n_patients=20)
    spec, weights = MlpHeadSpec(hidden=8, epochs=2), np.ones(len(labels))
    weights[3] = 1e-12
    spoiled = table.features.copy()
    spoiled[3] *= -1
    heads = [
        fit_head(spec, dataclasses.replace(table, features=f), labels, weights=weights, seed=1)
        for f in (table.features, spoiled)
    ]
    for name, values in heads[0].tensors.items():
        np.testing.assert_allclose(heads[1].tensors[name], values, atol=1e-5)


def test_instances_are_in_every_fold_and_nowhere_else() -> None:
    cohort, folds = _cohort(n_patients=24)
    source = _source()
    alone = cross_validate(TransferClassifier(), cohort, folds, seed=0)
    found = cross_validate(TransferClassifier(), cohort.with_instances(source), folds, seed=0)
    assert not found.patients.table.equals(alone.patients.table)
    for mine, theirs in ((found.patients, alone.patients), (found.inner, alone.inner)):
        names = ["repeat", "fold", "patient_id"]
        assert mine.table[names].equals(theirs.table[names])
    assert set(found.slices.table["patient_id"]) == set(cohort.patient_ids)
    for model, without in zip(found.trained, alone.trained, strict=True):
        record = model.record.instances
        assert record is not None
        assert record.patients == tuple(sorted(source.labels))
        assert (record.weight, record.n_patients) == (0.5, 20)
        assert model.record.training_patients == without.record.training_patients
        assert FitRecord.from_dict(model.record.as_dict()).instances == record
        assert "source" not in str(model.record.nameless.as_dict())


def test_thresholds_and_recalibration_rest_on_the_cohorts_own_patients() -> None:
    """Of instances that weigh nothing nothing may be left, however many there are."""
    cohort, folds = _cohort(n_patients=24)
    faint = _source(weight=1e-9, n_patients=60, signal=9.0)
    alone = cross_validate(TransferClassifier(), cohort, folds, seed=0)
    found = cross_validate(TransferClassifier(), cohort.with_instances(faint), folds, seed=0)
    for one, other in zip(found.trained, alone.trained, strict=True):
        assert one.threshold == pytest.approx(other.threshold, abs=1e-4)
        assert one.recalibration.method == other.recalibration.method
    scores = [result.patients.table["score"] for result in (found, alone)]
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_a_source_with_the_same_signal_helps_a_small_cohort() -> None:
    """16 patients of one population, 100 others of the same one as instances."""
    table, labels = feature_table(n_patients=116, n_slices=4, n_features=12, signal=0.5, seed=3)
    words = dict(zip(table.patient_ids, ("AD" if one else "CN" for one in labels), strict=True))
    everybody = LabelledFeatures(tables={"max": table}, labels=words, positive="AD")
    cohort, rest = everybody.only(table.patient_ids[:16]), everybody.only(table.patient_ids[16:])
    folds = folds_of(cohort.scans, labels[:16])
    source = Instances(tables=rest.tables, labels=rest.labels, weight=1.0)
    estimator = TransferClassifier().without_choices()
    figures = []
    for instances in (None, source):
        data = cohort.with_instances(instances)
        scores = cross_validate(estimator, data, folds, seed=0).patients.table
        table_of = scores.groupby("patient_id")["score"].mean()
        figures.append(
            float(auc(cohort.is_positive, table_of[list(cohort.patient_ids)].to_numpy()))
        )
    assert figures[1] > figures[0] + 0.05


def test_a_source_of_one_label_may_be_used() -> None:
    cohort, folds = _cohort(n_patients=16)
    source = _source()
    healthy = [
        i for i, n in enumerate(source.tables["max"].patient_ids) if source.labels[n] == "CN"
    ]
    data = LabelledFeatures(tables=source.tables, labels=source.labels, positive="AD").only(
        [source.tables["max"].patient_ids[i] for i in healthy]
    )
    one_sided = Instances(tables=data.tables, labels=data.labels, weight=0.5)
    result = cross_validate(TransferClassifier(), cohort.with_instances(one_sided), folds, seed=0)
    assert result.trained[0].record.instances.n_patients == len(healthy)


def test_nobody_is_on_both_sides() -> None:
    cohort, _ = _cohort(n_patients=16)
    source = _source()
    name, sha256 = cohort.scans.patient_ids[2], "ab" * 32
    same_name = dataclasses.replace(
        source.tables["max"], patient_ids=(name, *source.tables["max"].patient_ids[1:])
    )
    with pytest.raises(HeadError, match=f"a patient of the cohort is among.*{name}"):
        cohort.with_instances(dataclasses.replace(source, tables={"max": same_name}))
    # The same file under another name.
    copied = dataclasses.replace(cohort.scans, scan_sha256=(sha256, *cohort.scans.scan_sha256[1:]))
    twin = dataclasses.replace(
        source.tables["max"], scan_sha256=(sha256, *source.tables["max"].scan_sha256[1:])
    )
    known = dataclasses.replace(cohort, tables={"max": copied})
    with pytest.raises(HeadError, match=f"a scan of the cohort.*{twin.scan_ids[0]}"):
        known.with_instances(dataclasses.replace(source, tables={"max": twin}))


def test_what_would_not_see_the_instances_is_refused() -> None:
    cohort, folds = _cohort(n_patients=16)
    estimator = TransferClassifier(harmonisation=HarmonisationSpec(kind="combat"))
    with pytest.raises(ConfigurationError, match=r"harmonisation\.kind.*instances"):
        cross_validate(estimator, cohort.with_instances(_source()), folds, seed=0)
