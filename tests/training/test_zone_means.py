"""Heads that were fitted to means of zones are those of all slices."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import pytest

from mri_transfer.models.heads import LinearHeadSpec
from mri_transfer.training import zone_means
from mri_transfer.training.cross_validation import cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.search import SearchSpec
from tests.synthetic import feature_table, folds_of


@pytest.fixture
def cohort():
    table, labels = feature_table(n_patients=24, n_slices=8, n_features=12, two_sessions=5)
    folds = folds_of(table, labels, n_folds=3)
    return folds, LabelledFeatures.of_folds({"max": table}, folds, "AD")


def test_a_large_cohort_has_the_heads_and_scores_of_all_slices(cohort, monkeypatch):
    folds, data = cohort
    estimator = TransferClassifier(head=LinearHeadSpec(zones=2), n_inner_folds=2)
    small = cross_validate(estimator, data, folds)
    monkeypatch.setattr(zone_means, "MANY_NUMBERS", 0)
    large = cross_validate(estimator, data, folds)
    for one, other in zip(small.trained, large.trained, strict=True):
        for name, values in one.head.tensors.items():
            np.testing.assert_allclose(other.head.tensors[name], values, rtol=2e-4, atol=2e-5)
        assert other.record.training_patients == one.record.training_patients
    for name in ("patients", "slices", "inner"):
        tables = [getattr(found, name).table for found in (small, large)]
        np.testing.assert_allclose(tables[1]["score"], tables[0]["score"], atol=1e-4)
        others = [table.drop(columns="score") for table in tables]
        assert others[0].equals(others[1])


def test_slices_are_not_in_memory_while_heads_are_fitted(cohort, monkeypatch):
    folds, data = cohort
    estimator = TransferClassifier(head=LinearHeadSpec(zones=2), n_inner_folds=2)
    monkeypatch.setattr(zone_means, "MANY_NUMBERS", 0)
    expected = cross_validate(estimator, data, folds)
    alive, seen = [], []

    def read():
        table = data.scans.rows(range(len(data.scans.scan_ids)))
        alive.append(weakref.ref(table.features))
        return dataclasses.replace(data, tables={"max": table})

    def progress(done, total):
        seen.append([one() is not None for one in alive])

    found = cross_validate(estimator, read, folds, progress=progress)
    assert len(alive) == 2
    assert len(seen) == 9
    assert all(one == [False] for one in seen)
    for name in ("patients", "slices", "inner"):
        assert getattr(found, name).table.equals(getattr(expected, name).table)


def test_only_what_a_mean_of_zones_is_enough_for_is_averaged(cohort, monkeypatch):
    _, data = cohort
    monkeypatch.setattr(zone_means, "MANY_NUMBERS", 0)

    def zones(**parameters):
        return zone_means.fitted_zones(TransferClassifier(**parameters), data)

    assert zones(head=LinearHeadSpec(zones=4)) == 4
    assert zones(head=LinearHeadSpec(zones=3)) is None
    assert zones(aggregation="mean_probability") is None
    assert zones(search=SearchSpec()) is None
    monkeypatch.setattr(zone_means, "MANY_NUMBERS", 10**9)
    assert zones() is None
