"""SeenScans: whose scans a trunk was pretrained on, kept inside its file of weights.

Weights that were fitted to a scan have seen it, with a label or without: what a fold says of its
patient is then no test on a patient nobody has seen. So weights that are made here carry the
digests of all scans that took part, and a run holds its own scans against them.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from mri_transfer.core.tensorfile import read_marked
from mri_transfer.errors import WeightsError

__all__ = ["SeenScans"]

#: Names of the arrays beside the weights.
_SCANS, _PATIENTS, _SIZE = "seen.scan_sha256", "seen.patient_sha256", "seen.size_px"
#: Scans that a message lists.
_LISTED = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeenScans:
    """The scans that weights were fitted to or chosen by.

    Attributes
    ----------
    scans : frozenset of str
        SHA-256 of their files.
    patients : frozenset of str
        SHA-256 of the names of their patients, so that the file names nobody.
    size_px : int
        Edge of the slices.
    """

    scans: frozenset[str]
    patients: frozenset[str]
    size_px: int

    @classmethod
    def of(cls, scan_sha256: Iterable[str], patient_ids: Iterable[str], *, size_px: int) -> Self:
        """Return the record of some scans and their patients."""
        return cls(
            scans=frozenset(scan_sha256),
            patients=frozenset(map(_digest, patient_ids)),
            size_px=size_px,
        )

    def tensors(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays to write beside the weights, sorted, so that they tell no order."""
        return {
            _SCANS: _packed(self.scans),
            _PATIENTS: _packed(self.patients),
            _SIZE: np.array([self.size_px], dtype=np.int64),
        }

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record that a file of weights carries.

        Raises
        ------
        WeightsError
            If it carries none.
        """
        # A file of another format has none either.
        _, tensors = read_marked(path) if path.suffix == ".safetensors" else ({}, {})
        if not {_SCANS, _PATIENTS, _SIZE} <= tensors.keys():
            raise WeightsError(
                "the file does not say which scans its weights were trained on",
                where=str(path),
                expected="a file that `mri-transfer pretrain` wrote",
                remedy="Without it nobody can tell whether a test patient was among them. Make "
                "the weights with `mri-transfer pretrain MANIFEST --out WEIGHTS.safetensors`",
            )
        return cls(
            scans=_unpacked(tensors[_SCANS]),
            patients=_unpacked(tensors[_PATIENTS]),
            size_px=int(tensors[_SIZE][0]),
        )

    def shared(self, scans: Iterable[tuple[str, str, str]]) -> dict[str, str]:
        """Return which scans of a cohort took part.

        Parameters
        ----------
        scans : iterable of (str, str, str)
            Of each scan its name, its patient and the SHA-256 of its file.

        Returns
        -------
        dict of str to str
            By scan: ``sha256``, the same file, or ``patient_id``, a patient of this name.
        """
        found = {}
        for scan_id, patient_id, sha256 in scans:
            if sha256 in self.scans:
                found[scan_id] = "sha256"
            elif _digest(patient_id) in self.patients:
                found[scan_id] = "patient_id"
        return found

    def demand_none(self, scans: Iterable[tuple[str, str, str]]) -> None:
        """Refuse a cohort of which a scan or a patient took part.

        Parameters
        ----------
        scans
            As in `shared`.

        Raises
        ------
        WeightsError
            If one did.
        """
        found = self.shared(scans)
        if not found:
            return
        raise WeightsError(
            "the trunk's weights were trained on scans of this cohort",
            found=_listed(list(found.items())),
            expected="weights trained on other patients",
            remedy="Pretrain on a cohort without these patients; rename patients who only share "
            "their name, for example with the site in front",
        )


def _listed(found: Sequence[tuple[str, str]]) -> str:
    words = {"sha256": "the same file", "patient_id": "a patient of the same name"}
    named = ", ".join(f"{name} ({words[by]})" for name, by in found[:_LISTED])
    return f"{named} and {len(found) - _LISTED} others" if found[_LISTED:] else named


def _digest(patient_id: str) -> str:
    return hashlib.sha256(f"mri-transfer/patient/{patient_id}".encode()).hexdigest()


def _packed(digests: Iterable[str]) -> npt.NDArray[np.generic]:
    rows = [np.frombuffer(bytes.fromhex(one), dtype=np.uint8) for one in sorted(digests)]
    return np.stack(rows) if rows else np.zeros((0, 32), dtype=np.uint8)


def _unpacked(rows: npt.NDArray[np.generic]) -> frozenset[str]:
    return frozenset(row.tobytes().hex() for row in rows)
