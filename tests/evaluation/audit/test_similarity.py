"""Scans of one person are found by their features, and others are not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.evaluation.audit.similarity import SimilaritySpec, compare_scans, similar_scans
from mri_transfer.models.features import FeatureTable
from tests.synthetic import feature_table, folds_of


def _part(table: FeatureTable, scans: list[int]) -> FeatureTable:
    return FeatureTable(
        **{
            name: value[scans] if isinstance(value, np.ndarray) else tuple(value[i] for i in scans)
            for name, value in vars(table).items()
        }
    )


def _renamed(table: FeatureTable, names: dict[str, str]) -> FeatureTable:
    return dataclasses.replace(
        table, patient_ids=tuple(names.get(name, name) for name in table.patient_ids)
    )


def test_similarity_is_the_cosine_of_what_differs_between_scans() -> None:
    table, _ = feature_table(n_patients=12, n_slices=3, n_features=5, two_sessions=2)
    rows = table.features.reshape(14, -1).astype(np.float64)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    found = compare_scans(table, spec=SimilaritySpec(same_person=0.05))
    cosines = {
        (table.scan_ids[i], table.scan_ids[j]): scaled[i]
        @ scaled[j]
        / np.linalg.norm(scaled[i])
        / np.linalg.norm(scaled[j])
        for i in range(14)
        for j in range(i + 1, 14)
    }
    listed = {(pair.scan_a, pair.scan_b): pair.similarity for pair in found.pairs}
    assert listed == pytest.approx(
        {pair: value for pair, value in cosines.items() if round(value, 4) >= 0.05}, abs=1e-4
    )
    assert found.different_patients.n + found.same_patient.n == 14 * 13 / 2
    assert found.different_patients.max == pytest.approx(
        max(value for (a, b), value in cosines.items() if a[:4] != b[:4]), abs=1e-4
    )


def test_sessions_of_one_patient_are_found_and_different_patients_are_not() -> None:
    table, labels = feature_table(identity=2.0, two_sessions=3)
    pairs = similar_scans(table, folds=folds_of(table, labels))
    assert sorted(pair.patient_a for pair in pairs) == ["p000", "p001", "p002"]
    assert all(pair.same_patient for pair in pairs)
    assert not any(pair.across_folds for pair in pairs)


def test_a_person_under_two_names_is_found_across_folds_and_listed_first() -> None:
    table, labels = feature_table(identity=2.0, two_sessions=3)
    table = _renamed(_part(table, [*range(40), 41, 42]), {})
    renamed = dataclasses.replace(table, patient_ids=(*table.patient_ids[:41], "somebody"))
    labels = labels[[*range(40), 41, 42]]
    folds = folds_of(renamed, labels)
    pairs = similar_scans(renamed, folds=folds)
    assert [pair.same_patient for pair in pairs] == [False, True]
    assert {pairs[0].patient_a, pairs[0].patient_b} == {"p002", "somebody"}
    place = dict(zip(folds.patient_ids, folds.assignment[0], strict=True))
    assert pairs[0].across_folds == (place["p002"] != place["somebody"])
    assert similar_scans(renamed)[0].across_folds is None


def test_a_pair_lies_across_folds_if_any_repeat_parts_it() -> None:
    table, labels = feature_table(identity=2.0, two_sessions=1)
    renamed = dataclasses.replace(table, patient_ids=(*table.patient_ids[:40], "somebody"))
    folds = folds_of(renamed, labels, n_repeats=2)
    a, b = (folds.patient_ids.index(name) for name in ("p000", "somebody"))
    for second, expected in (((1, 1), False), ((1, 2), True)):
        assignment = folds.assignment.copy()
        assignment[:, a], assignment[:, b] = (0, second[0]), (0, second[1])
        pair = similar_scans(renamed, folds=dataclasses.replace(folds, assignment=assignment))[0]
        assert pair.across_folds is expected


def test_a_person_in_two_cohorts_is_found_and_pairs_within_one_are_not() -> None:
    table, _ = feature_table(identity=2.0, two_sessions=3)
    first, second = _part(table, [*range(30), 40]), _part(table, [*range(30, 40), 41, 42])
    pairs = similar_scans(first, second)
    assert sorted(pair.patient_a for pair in pairs) == ["p001", "p002"]
    assert all(pair.scan_a in first.scan_ids for pair in pairs)
    assert all(pair.scan_b in second.scan_ids for pair in pairs)


def test_blocks_do_not_change_what_is_found(monkeypatch) -> None:
    table, _ = feature_table(identity=2.0, two_sessions=3)
    whole = compare_scans(table)
    monkeypatch.setattr("mri_transfer.evaluation.audit.similarity._BLOCK", 7)
    assert compare_scans(table) == whole


def test_a_feature_that_never_varies_is_harmless() -> None:
    table, _ = feature_table(identity=2.0, two_sessions=1)
    features = table.features.copy()
    features[..., 0] = 3.0
    report = compare_scans(dataclasses.replace(table, features=features))
    assert np.isfinite(report.different_patients.max)
    assert len(report.pairs) == 1


def test_few_scans_are_not_judged_and_two_shapes_are_refused() -> None:
    table, _ = feature_table(n_patients=6)
    report = compare_scans(table)
    assert report.pairs == ()
    assert "6 scans" in report.reason
    assert report.different_patients.max is None
    other, _ = feature_table(n_features=31)
    with pytest.raises(ValueError, match="two shapes"):
        compare_scans(table, other)


@pytest.mark.parametrize("cohorts", [1, 2])
def test_a_large_cohort_has_the_pairs_that_comparing_all_finds(cohorts, monkeypatch) -> None:
    table, labels = feature_table(identity=2.0, two_sessions=6)
    renamed = dataclasses.replace(table, patient_ids=(*table.patient_ids[:44], "p100", "p101"))
    names = sorted(set(renamed.patient_ids))
    tables = [renamed] if cohorts == 1 else [_part(renamed, range(38)), _part(table, range(38, 46))]
    folds = dataclasses.replace(
        folds_of(table, labels),
        patient_ids=tuple(names),
        labels=("CN", "AD") * (len(names) // 2),
        assignment=np.arange(len(names))[None] % 4,
    )
    compared = compare_scans(*tables, folds=folds)
    assert len(compared.pairs) == 6
    monkeypatch.setattr("mri_transfer.evaluation.audit.similarity.MAX_PAIRS", 0)
    # As small a cohort is drawn as a whole.
    assert compare_scans(*tables, folds=folds) == compared
