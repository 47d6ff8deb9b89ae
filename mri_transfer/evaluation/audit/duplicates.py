"""Scans that are in a cohort twice, and people who are in two cohorts.

Four things are looked for, from the plain to the hidden: the same file; the same volume under
another header; the same brain under two patients, by the correlation of fingerprints
(`mri_transfer.scans.preparation.fingerprint`); and sessions of one patient that do not look like
one brain. The thresholds are chosen from measured pairs, see `DuplicateSpec`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np

from mri_transfer.core.arrays import BoolArray
from mri_transfer.core.grouping import positions_by_name
from mri_transfer.evaluation.audit.candidates import MAX_PAIRS
from mri_transfer.evaluation.audit.document import DuplicateKind, DuplicatePair
from mri_transfer.evaluation.audit.likeness import alike_pairs, compare_blocks, compare_with
from mri_transfer.evaluation.audit.settings import DuplicateSpec
from mri_transfer.scans.preparation.fingerprint import Fingerprint

__all__ = [
    "UNLIKE",
    "ScanIdentity",
    "find_duplicates",
]

#: Scans under one patient id that do not look like one brain: two people, perhaps.
UNLIKE: DuplicateKind = "sessions that differ"

_KINDS: tuple[DuplicateKind, ...] = get_args(DuplicateKind)
#: Fields in which two scans may agree.
_NAMES = ("content_sha256", "voxel_sha256", "patient_id")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScanIdentity:
    """What a scan is recognised by.

    Parameters
    ----------
    scan_id, patient_id : str
        As in the manifest.
    content_sha256 : str or None
        Digest of its file's content (`mri_transfer.core.files.content_sha256`); None if not known,
        as in every field below.
    voxel_sha256 : str or None
        Digest of its voxels without their header (`voxel_sha256`).
    fingerprint : Fingerprint or None
        The pattern of its brain.
    """

    scan_id: str
    patient_id: str
    content_sha256: str | None = None
    voxel_sha256: str | None = None
    fingerprint: Fingerprint | None = None


def find_duplicates(
    scans: Sequence[ScanIdentity],
    second: Sequence[ScanIdentity] | None = None,
    *,
    spec: DuplicateSpec | None = None,
) -> list[DuplicatePair]:
    """Find repeats within a cohort, or between two cohorts.

    Up to two thousand scans every pair is compared. In larger cohorts these are: scans with the
    same file, the same volume or the same patient, and those whose fingerprints may reach
    `spec.same_brain` (`likeness.alike_pairs`).

    Parameters
    ----------
    scans : sequence of ScanIdentity
        A cohort.
    second : sequence of ScanIdentity, optional
        A second one, such as the one a model was trained on: then only pairs between the two are
        looked at. One patient id in both does not prove one person, so that sessions that differ
        are not reported.
    spec : DuplicateSpec, optional

    Returns
    -------
    list of DuplicatePair
        One at most for a pair; pairs across patients first, then by kind, the most similar first.
    """
    spec = spec or DuplicateSpec()
    within, columns = second is None, scans if second is None else second
    if len(scans) * len(columns) > MAX_PAIRS:
        return sorted(_near_duplicates(scans, second, spec), key=_rank)
    pairs: list[DuplicatePair] = []
    for rows_at, columns_at, plain, mirrored in compare_blocks(
        [scan.fingerprint for scan in scans],
        None if second is None else [scan.fingerprint for scan in second],
        min_shared_ml=spec.min_shared_ml,
    ):
        rows, block = scans[rows_at], columns[columns_at]
        same = [_equal(rows, block, name) for name in _NAMES]
        best = np.fmax(plain, mirrored)
        wanted = same[0] | same[1] | (same[2] & within) | (best >= spec.same_brain)
        if within and rows_at == columns_at:
            wanted = np.triu(wanted, 1)
        pairs += [
            _duplicate(
                rows[i],
                block[j],
                same=[bool(which[i, j]) for which in same],
                similarity=None if np.isnan(best[i, j]) else float(best[i, j]),
                mirrored=bool(mirrored[i, j] > plain[i, j]),
                spec=spec,
            )
            for i, j in np.argwhere(wanted)
        ]
    return sorted(pairs, key=_rank)


def _near_duplicates(
    scans: Sequence[ScanIdentity], second: Sequence[ScanIdentity] | None, spec: DuplicateSpec
) -> Iterator[DuplicatePair]:
    """Yield the same pairs without comparing all."""
    within, columns = second is None, scans if second is None else second
    wanted: dict[int, set[int]] = {}
    names = _NAMES if within else _NAMES[:2]
    for i, j in itertools.chain(*(_agreeing(scans, second, name) for name in names)):
        wanted.setdefault(i, set()).add(j)
    for pairs in alike_pairs(
        [scan.fingerprint for scan in scans],
        None if second is None else [scan.fingerprint for scan in second],
        at_least=spec.same_brain,
    ):
        for i, j in pairs.tolist():
            wanted.setdefault(i, set()).add(j)
    for i, others in sorted(wanted.items()):
        a, found = scans[i], [columns[j] for j in sorted(others)]
        plain, mirrored = compare_with(
            a.fingerprint, [b.fingerprint for b in found], min_shared_ml=spec.min_shared_ml
        )
        best = np.fmax(plain, mirrored)
        for k, b in enumerate(found):
            same = [_known_equal(a, b, name) for name in _NAMES]
            if same[0] or same[1] or (same[2] and within) or best[k] >= spec.same_brain:
                yield _duplicate(
                    a,
                    b,
                    same=same,
                    similarity=None if np.isnan(best[k]) else float(best[k]),
                    mirrored=bool(mirrored[k] > plain[k]),
                    spec=spec,
                )


def _agreeing(
    scans: Sequence[ScanIdentity], second: Sequence[ScanIdentity] | None, name: str
) -> Iterator[tuple[int, int]]:
    """Yield the pairs that agree in a field that both know."""
    values = [[getattr(scan, name) for scan in side] for side in (scans, second or ())]
    first, others = (positions_by_name(side) for side in values)
    for value, at in first.items():
        if value is None:
            continue
        if second is None:
            yield from itertools.combinations(at.tolist(), 2)
        else:
            yield from itertools.product(at.tolist(), others.get(value, at[:0]).tolist())


def _known_equal(a: ScanIdentity, b: ScanIdentity, name: str) -> bool:
    value = getattr(a, name)
    return value is not None and value == getattr(b, name)


def _equal(scans: Sequence[ScanIdentity], second: Sequence[ScanIdentity], name: str) -> BoolArray:
    """Return which pairs agree in a field that both know, shape (n_scans, n_second)."""
    codes: dict[str | None, int] = {}
    rows, columns = (
        np.array([codes.setdefault(getattr(scan, name), len(codes)) for scan in side], dtype=int)
        for side in (scans, second)
    )
    same: BoolArray = rows[:, None] == columns[None, :]
    if None in codes:
        same &= (rows != codes[None])[:, None]
    return same


def _duplicate(
    a: ScanIdentity,
    b: ScanIdentity,
    *,
    same: list[bool],
    similarity: float | None,
    mirrored: bool,
    spec: DuplicateSpec,
) -> DuplicatePair:
    return DuplicatePair(
        kind=_kind(same, similarity, spec),
        scan_a=a.scan_id,
        patient_a=a.patient_id,
        scan_b=b.scan_id,
        patient_b=b.patient_id,
        similarity=similarity,
        across_patients=a.patient_id != b.patient_id,
        mirrored=mirrored and similarity is not None and similarity >= spec.same_brain,
    )


def _kind(same: list[bool], similarity: float | None, spec: DuplicateSpec) -> DuplicateKind:
    same_file, same_volume, same_patient = same
    if same_file:
        return "same file"
    if same_volume:
        return "same volume"
    if not same_patient:
        return "same brain"
    if similarity is not None and similarity < spec.other_brain:
        return UNLIKE
    return "sessions of one patient"


def _rank(pair: DuplicatePair) -> tuple[bool, int, float, str, str]:
    similarity = -2.0 if pair.similarity is None else pair.similarity
    return (
        not pair.across_patients,
        _KINDS.index(pair.kind),
        -similarity,
        pair.scan_a,
        pair.scan_b,
    )
