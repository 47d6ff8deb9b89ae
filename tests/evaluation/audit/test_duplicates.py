"""Duplicates: which pairs are found, what they are called, how alike they are."""

from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from mri_transfer.evaluation.audit import duplicates, likeness, run_audit
from mri_transfer.evaluation.audit.document import CheckResult, DuplicatePair
from mri_transfer.evaluation.audit.duplicates import ScanIdentity, find_duplicates
from mri_transfer.evaluation.audit.likeness import similarities
from mri_transfer.evaluation.audit.settings import DuplicateSpec
from mri_transfer.scans.preparation.fingerprint import (
    NOT_COVERED,
    VOXEL_MM3,
    Fingerprint,
    fingerprint,
)
from mri_transfer.scans.volumes import Volume
from tests.documents import audit_parts

_N_VALUES = fingerprint(
    Volume(voxels=np.zeros((2, 2, 2), np.float32), affine=np.eye(4), scan_id="none"),
    np.zeros((2, 2, 2), dtype=bool),
    registered=True,
).values.size


def _pattern(seed: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, 32, _N_VALUES)


def _print_of(pattern: npt.NDArray[np.float64], covered: object = True) -> Fingerprint:
    values = np.clip(np.rint(pattern), -127, 127)
    return Fingerprint(values=np.where(covered, values, NOT_COVERED).astype(np.int8))


def _alike(pattern: npt.NDArray[np.float64], similarity: float, seed: int) -> Fingerprint:
    """Return a fingerprint that correlates with a pattern as told, within about .01."""
    rest = np.sqrt(1 - similarity**2) * _pattern(seed)
    return _print_of(similarity * pattern + rest)


def _part(start: float, stop: float) -> npt.NDArray[np.bool_]:
    """Return the voxels between two shares of all."""
    at = np.arange(_N_VALUES) / _N_VALUES
    return (at >= start) & (at < stop)


def _scan(name: str, patient: str | None = None, **known: object) -> ScanIdentity:
    return ScanIdentity(scan_id=name, patient_id=patient or name, **known)  # type: ignore[arg-type]


def _kinds(found: list[DuplicatePair]) -> dict[tuple[str, str], str]:
    return {(pair.scan_a, pair.scan_b): pair.kind for pair in found}


def _slow_likeness(one: Fingerprint, other: Fingerprint, min_shared: float) -> float:
    both = [
        (float(a), float(b))
        for a, b in zip(one.values.tolist(), other.values.tolist(), strict=True)
        if a != NOT_COVERED and b != NOT_COVERED
    ]
    if len(both) < min_shared:
        return float("nan")
    power = sum(a * a for a, _ in both) * sum(b * b for _, b in both)
    return float(sum(a * b for a, b in both) / power**0.5)


@pytest.mark.parametrize("block", [1, 2, 256])
def test_similarities_agree_with_their_definition(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "_BLOCK", block)
    pattern = _pattern(0)
    prints = [
        _print_of(pattern),
        _alike(pattern, 0.7, 1),
        _print_of(_pattern(2), _part(0.2, 0.9)),
        _alike(pattern, 0.6, 3).mirrored(),
        _print_of(pattern, _part(0.0, 0.15)),
    ]
    # The last one and the third share nothing, the last one and the others a little.
    found = similarities(prints, min_shared_ml=0.1 * _N_VALUES * VOXEL_MM3 / 1000)
    for i, one in enumerate(prints):
        for j, other in enumerate(prints):
            if i == j:
                assert np.isnan(found[i, j])
                continue
            sides = [
                _slow_likeness(one, side, 0.1 * _N_VALUES) for side in (other, other.mirrored())
            ]
            best = np.nan if np.isnan(sides).all() else np.nanmax(sides)
            assert found[i, j] == pytest.approx(best, abs=2e-4, nan_ok=True)
    others = similarities(prints[:2], prints[2:])
    np.testing.assert_allclose(others[:, :2], found[:2, 2:4], atol=1e-4)


def test_too_little_shared_brain_and_missing_fingerprints_compare_to_nothing() -> None:
    pattern = _pattern(0)
    draw = Fingerprint(values=np.random.default_rng(1).integers(0, 100, _N_VALUES, dtype=np.int8))
    # The same to the left and to the right, so that mirroring does not make them share more.
    place = np.minimum(draw.values, draw.mirrored().values)
    halves = [_print_of(pattern, place < 33), _print_of(pattern, place >= 30)]
    shared_ml = ((place >= 30) & (place < 33)).sum() * VOXEL_MM3 / 1000
    assert np.isnan(similarities(halves, min_shared_ml=1.01 * shared_ml)).all()
    assert similarities(halves, min_shared_ml=0.99 * shared_ml)[0, 1] == pytest.approx(1)
    assert np.isnan(similarities([None, halves[0]])).all()
    assert np.isnan(similarities([None, None])).all()
    assert similarities([], halves).shape == (0, 2)


def test_each_pair_is_called_by_the_plainest_thing_that_holds() -> None:
    pattern = _pattern(0)
    one = _print_of(pattern)
    scans = [
        _scan("a", content_sha256="1", voxel_sha256="v", fingerprint=one),
        _scan("copy", content_sha256="1", voxel_sha256="v", fingerprint=one),
        _scan("header", content_sha256="2", voxel_sha256="v", fingerprint=one),
        _scan("again", content_sha256="3", voxel_sha256="w", fingerprint=_alike(pattern, 0.8, 1)),
        _scan("other", content_sha256="4", voxel_sha256="x", fingerprint=_print_of(_pattern(2))),
    ]
    assert _kinds(find_duplicates(scans)) == {
        ("a", "copy"): "same file",
        ("a", "header"): "same volume",
        ("copy", "header"): "same volume",
        ("a", "again"): "same brain",
        ("copy", "again"): "same brain",
        ("header", "again"): "same brain",
    }


@pytest.mark.parametrize(
    ("similarity", "kind"),
    [
        (0.9, "sessions of one patient"),
        (0.5, "sessions of one patient"),
        (0.3, "sessions that differ"),
    ],
)
def test_sessions_of_one_patient_are_told_by_how_alike_they_are(
    similarity: float, kind: str
) -> None:
    pattern = _pattern(0)
    sessions = [
        _scan("s1", "p", fingerprint=_print_of(pattern)),
        _scan("s2", "p", fingerprint=_alike(pattern, similarity, 1)),
    ]
    (pair,) = find_duplicates(sessions)
    assert pair.kind == kind
    assert pair.similarity == pytest.approx(similarity, abs=0.02)
    assert not pair.across_patients


def test_two_people_under_one_id_fail_a_check_of_the_audit() -> None:
    parts = audit_parts()
    unlike = [_scan(name, "p", fingerprint=_print_of(_pattern(i))) for i, name in enumerate("ab")]
    alike = [_scan(name, "q", fingerprint=_print_of(_pattern(2))) for name in "cd"]
    two_people, one_person = find_duplicates([*unlike, *alike])

    def failed(*pairs: object) -> dict[str, CheckResult]:
        audit = run_audit(**{**parts, "duplicates": pairs})
        return {check.check: check for check in audit.failed}

    check = failed(two_people, one_person)["one_name_one_person"]
    assert check.n_found == 1
    assert [(one["patient_a"], one["scan_a"], one["scan_b"]) for one in check.found] == [
        ("p", "a", "b")
    ]
    assert "one_name_one_person" not in failed(one_person)


def test_sessions_that_cannot_be_compared_are_not_said_to_differ() -> None:
    (pair,) = find_duplicates([_scan("s1", "p"), _scan("s2", "p")])
    assert (pair.kind, pair.similarity) == ("sessions of one patient", None)


def test_what_is_not_known_is_not_equal() -> None:
    assert find_duplicates([_scan("a"), _scan("b"), _scan("c", content_sha256="1")]) == []


def test_a_threshold_counts_as_reached() -> None:
    pattern = _pattern(0)
    scans = [
        _scan("a", fingerprint=_print_of(pattern)),
        _scan("b", fingerprint=_alike(pattern, 0.7, 1)),
    ]
    exactly = float(similarities([scan.fingerprint for scan in scans])[0, 1])
    assert len(find_duplicates(scans, spec=DuplicateSpec(same_brain=exactly))) == 1
    assert find_duplicates(scans, spec=DuplicateSpec(same_brain=exactly + 1e-3)) == []


def test_a_scan_with_left_and_right_exchanged_is_found_and_said_to_be() -> None:
    pattern = _pattern(0)
    scans = [
        _scan("a", fingerprint=_print_of(pattern)),
        _scan("b", fingerprint=_alike(pattern, 0.8, 1).mirrored()),
        _scan("c", fingerprint=_alike(pattern, 0.8, 2)),
    ]
    found = {(pair.scan_a, pair.scan_b): pair.mirrored for pair in find_duplicates(scans)}
    assert found == {("a", "b"): True, ("a", "c"): False, ("b", "c"): True}


def test_between_two_cohorts_only_pairs_of_both_are_found() -> None:
    pattern = _pattern(0)
    twice = _alike(pattern, 0.8, 1)
    trained = [
        _scan("t1", "p1", content_sha256="1", fingerprint=_print_of(pattern)),
        _scan("t2", "p2", content_sha256="1", fingerprint=_print_of(_pattern(3))),
    ]
    new = [
        _scan("n1", "p1", fingerprint=twice),
        _scan("n2", "p9", fingerprint=twice),
        # The id of a patient of the other cohort, by chance.
        _scan("n3", "p2", fingerprint=_print_of(_pattern(4))),
        _scan("n4", "p4", content_sha256="1"),
    ]
    found = find_duplicates(new, trained)
    assert _kinds(found) == {
        ("n4", "t1"): "same file",
        ("n4", "t2"): "same file",
        ("n2", "t1"): "same brain",
        ("n1", "t1"): "sessions of one patient",
    }
    assert [pair.scan_a for pair in found] == ["n4", "n4", "n2", "n1"]


@pytest.mark.parametrize("block", [1, 3, 256])
def test_blocks_and_order_of_scans_do_not_change_what_is_found(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = [_pattern(seed) for seed in range(4)]
    scans = [
        _scan(f"s{i}", f"p{i // 2}", fingerprint=_alike(patterns[i % 4], 0.9, 10 + i))
        for i in range(8)
    ]
    expected = {frozenset(pair) for pair in _kinds(find_duplicates(scans))}
    assert len(expected) == 8
    monkeypatch.setattr(likeness, "_BLOCK", block)
    found = find_duplicates(scans[::-1])
    assert {frozenset((pair.scan_a, pair.scan_b)) for pair in found} == expected
    assert len(found) == 8


def test_pairs_across_patients_come_first_then_the_plainest_then_the_most_alike() -> None:
    pattern = _pattern(0)
    scans = [
        _scan("s1", "p", fingerprint=_print_of(pattern)),
        _scan("s2", "p", fingerprint=_alike(pattern, 0.95, 1)),
        _scan("q", "q", fingerprint=_alike(pattern, 0.8, 2), voxel_sha256="v"),
        _scan("r", "r", voxel_sha256="v"),
    ]
    found = find_duplicates(scans)
    assert [(pair.scan_a, pair.scan_b) for pair in found] == [
        ("q", "r"),
        ("s1", "q"),
        ("s2", "q"),
        ("s1", "s2"),
    ]


def test_memory_does_not_grow_with_the_square_of_the_cohort(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(likeness, "_BLOCK", 8)
    one = _print_of(_pattern(0))
    scans = [_scan(f"s{i}", fingerprint=one if i < 2 else None) for i in range(600)]
    tracemalloc.start()
    try:
        assert len(find_duplicates(scans)) == 1
        assert tracemalloc.get_traced_memory()[1] < 100 * _N_VALUES * 4
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("values", [{"same_brain": 1.5}, {"other_brain": 0}, {"min_shared_ml": -1}])
def test_thresholds_that_cannot_be_meant_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DuplicateSpec(**values)


def test_a_large_cohort_has_the_pairs_that_comparing_all_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Mirrored, a part of a brain, nothing known but the file, no fingerprint, unlike sessions.
    brain, rest = _pattern(0), [_pattern(seed) for seed in range(10, 30)]
    slab = _part(0.2, 0.6)
    scans = [
        _scan("a", fingerprint=_print_of(brain), content_sha256="1"),
        _scan("b", fingerprint=_alike(brain, 0.7, 1)),
        _scan("c", fingerprint=_print_of(brain).mirrored(), voxel_sha256="2"),
        _scan("d", fingerprint=_print_of(brain, slab), voxel_sha256="2"),
        _scan("e", content_sha256="1"),
        _scan("f1", "f", fingerprint=_print_of(rest[0])),
        _scan("f2", "f", fingerprint=_print_of(rest[1])),
        *(_scan(f"g{i}", fingerprint=_print_of(one)) for i, one in enumerate(rest[2:])),
    ]
    both = (scans, None), (scans[:4], scans[2:])
    compared = [find_duplicates(*pair) for pair in both]
    assert len(compared[0]) == 8
    monkeypatch.setattr(duplicates, "MAX_PAIRS", 0)
    assert [find_duplicates(*pair) for pair in both] == compared
