"""Scans that are in a cohort twice, and people who are in two cohorts.

Four things are looked for, from the plain to the hidden: the same file; the same volume under
another header; the same brain under two patients, by the correlation of fingerprints
(`mri_transfer.scans.preparation.fingerprint`); and sessions of one patient that do not look like
one brain. The thresholds are chosen from measured pairs, see `DuplicateSpec`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from mri_transfer.evaluation.audit.likeness import compare_blocks
from mri_transfer.evaluation.audit.settings import DuplicateSpec
from mri_transfer.scans.preparation.fingerprint import Fingerprint

__all__ = [
    "UNLIKE",
    "Duplicate",
    "ScanIdentity",
    "find_duplicates",
]

DuplicateKind: TypeAlias = Literal[
    "same file", "same volume", "same brain", "sessions that differ", "sessions of one patient"
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Two scans that belong together, or that should and do not.

    Parameters
    ----------
    kind : str
        The plainest that holds:

        - ``same file``: of one content, compressed or not;
        - ``same volume``: of the same voxels, under another header;
        - ``same brain``: alike, but under two patients;
        - ``sessions of one patient``: of one patient, and not unlike;
        - ``sessions that differ``: said to be of one patient, but unlike.
    scan_a, patient_a, scan_b, patient_b : str
        Between two cohorts, `b` is of the second one.
    similarity : float or None
        Correlation of the fingerprints, -1 to 1; None if they cannot be compared.
    mirrored : bool
        True if they show one brain, with left and right exchanged in one of them.
    """

    kind: DuplicateKind
    scan_a: str
    patient_a: str
    scan_b: str
    patient_b: str
    similarity: float | None
    mirrored: bool

    @property
    def across_patients(self) -> bool:
        """Whether the two go by different patient ids."""
        return self.patient_a != self.patient_b

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self) | {"across_patients": self.across_patients}


def find_duplicates(
    scans: Sequence[ScanIdentity],
    others: Sequence[ScanIdentity] | None = None,
    *,
    spec: DuplicateSpec | None = None,
) -> list[Duplicate]:
    """Find repeats within a cohort, or between two cohorts.

    Every pair is compared; a thousand scans take seconds, and memory does not grow with pairs.

    Parameters
    ----------
    scans : sequence of ScanIdentity
        A cohort.
    others : sequence of ScanIdentity, optional
        A second one, such as the one a model was trained on: then only pairs between the two are
        looked at. One patient id in both does not prove one person, so that sessions that differ
        are not reported.
    spec : DuplicateSpec, optional

    Returns
    -------
    list of Duplicate
        One at most for a pair; pairs across patients first, then by kind, the most similar first.
    """
    spec = spec or DuplicateSpec()
    within, columns = others is None, scans if others is None else others
    found: list[Duplicate] = []
    for rows_at, columns_at, plain, mirrored in compare_blocks(
        [scan.fingerprint for scan in scans],
        None if others is None else [scan.fingerprint for scan in others],
        min_shared_ml=spec.min_shared_ml,
    ):
        rows, block = scans[rows_at], columns[columns_at]
        same = [_equal(rows, block, name) for name in _NAMES]
        best = np.fmax(plain, mirrored)
        wanted = same[0] | same[1] | (same[2] & within) | (best >= spec.same_brain)
        if within and rows_at == columns_at:
            wanted = np.triu(wanted, 1)
        found += [
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
    return sorted(found, key=_rank)


def _equal(
    scans: Sequence[ScanIdentity], others: Sequence[ScanIdentity], name: str
) -> npt.NDArray[np.bool_]:
    """Return which pairs agree in a field that both know, shape (n_scans, n_others)."""
    codes: dict[str | None, int] = {}
    rows, columns = (
        np.array([codes.setdefault(getattr(scan, name), len(codes)) for scan in side], dtype=int)
        for side in (scans, others)
    )
    same: npt.NDArray[np.bool_] = rows[:, None] == columns[None, :]
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
) -> Duplicate:
    return Duplicate(
        kind=_kind(same, similarity, spec),
        scan_a=a.scan_id,
        patient_a=a.patient_id,
        scan_b=b.scan_id,
        patient_b=b.patient_id,
        similarity=similarity,
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


def _rank(pair: Duplicate) -> tuple[bool, int, float, str, str]:
    similarity = -2.0 if pair.similarity is None else pair.similarity
    return (
        not pair.across_patients,
        _KINDS.index(pair.kind),
        -similarity,
        pair.scan_a,
        pair.scan_b,
    )
