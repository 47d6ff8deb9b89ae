"""TrainingMarks: hashes that tell whether a patient or scan was trained on, and nothing else.

A model that is tested on a patient it was trained on looks better than it is, so a bundle must
tell such patients; and it must not name anyone. It carries salted hashes: whoever holds a patient
id or a scan can ask whether it was there, nobody can read a list of ids from it.

Ids are short and follow patterns, so that somebody may guess them one by one. Their hash is scrypt
(Percival and Josefsson 2016, RFC 7914), which costs 16 MiB and some 40 ms a guess and an own round
for every bundle, because the salt differs. That slows guessing; it does not stop somebody who
tries all numbers of a small cohort. Scans cannot be guessed; theirs is HMAC-SHA256.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Collection, Iterable
from pathlib import Path

from mri_transfer.core.files import read_json_object, write_json
from mri_transfer.errors import StoreError

__all__ = ["Overlap", "TrainingMarks", "find_overlap", "read_marks", "write_marks"]

_SCHEMA = "mri-transfer/overlap/1"
_SALT_BYTES = 16
#: Costs of scrypt: N of new marks, the largest N accepted from a file, r, p.
_COST, _MAX_COST, _BLOCK, _LANES = 1 << 14, 1 << 16, 8, 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overlap:
    """What of a scan was among the training data."""

    patient: bool
    scan: bool

    def __bool__(self) -> bool:
        return self.patient or self.scan


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingMarks:
    """Salted hashes of the training patients and scans.

    Attributes
    ----------
    salt : bytes
        Of this bundle.
    cost : int
        N of scrypt.
    patients, scans : frozenset of str
        Hashes (hex) of patient ids, and of digests that scans are recognised by.
    """

    salt: bytes
    cost: int
    patients: frozenset[str]
    scans: frozenset[str]

    @classmethod
    def make(
        cls, patient_ids: Collection[str], scan_digests: Collection[str], *, secret: str
    ) -> TrainingMarks:
        """Hash training patients and scans.

        Parameters
        ----------
        patient_ids : collection of str
        scan_digests : collection of str
            SHA-256 (hex) of files, of their unpacked content, of their voxels.
        secret : str
            Something that only this bundle has, such as the digest of its head: with the training
            data it makes the salt, so that the same training gives the same bytes.
        """
        seed = "\n".join([_SCHEMA, secret, *sorted(patient_ids), *sorted(scan_digests)])
        salt = hashlib.sha256(seed.encode()).digest()[:_SALT_BYTES]
        bare = cls(salt=salt, cost=_COST, patients=frozenset(), scans=frozenset())
        return dataclasses.replace(
            bare,
            patients=frozenset(map(bare.patient_hash, set(patient_ids))),
            scans=frozenset(map(bare.scan_hash, set(scan_digests))),
        )

    def patient_hash(self, patient_id: str) -> str:
        """Hash a patient's id; the BIDS prefix ``sub-`` is no part of it."""
        bare = patient_id.removeprefix("sub-").encode()
        return hashlib.scrypt(
            bare,
            salt=self.salt,
            n=self.cost,
            r=_BLOCK,
            p=_LANES,
            maxmem=2 * 128 * _BLOCK * _MAX_COST,
            dklen=16,
        ).hex()

    def scan_hash(self, digest: str) -> str:
        """Hash one of the digests that a scan is recognised by."""
        return hmac.digest(self.salt, digest.encode(), "sha256")[:16].hex()

    def find(self, *, patient_id: str | None, scan_digests: Iterable[str]) -> Overlap:
        """Say whether a patient or a scan was among the training data.

        Parameters
        ----------
        patient_id : str, optional
        scan_digests : iterable of str
            As in `make`; one that matches is enough.
        """
        return Overlap(
            patient=patient_id is not None and self.patient_hash(patient_id) in self.patients,
            scan=any(self.scan_hash(digest) in self.scans for digest in scan_digests),
        )

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON values, in an order that tells nothing."""
        return {
            "salt": self.salt.hex(),
            "cost": self.cost,
            "patients": sorted(self.patients),
            "scans": sorted(self.scans),
        }


def find_overlap(
    marks: Iterable[TrainingMarks], *, patient_id: str | None, scan_digests: Collection[str]
) -> Overlap:
    """Say whether a patient or a scan is in any of the trainings behind a bundle."""
    found = [one.find(patient_id=patient_id, scan_digests=scan_digests) for one in marks]
    return Overlap(patient=any(one.patient for one in found), scan=any(one.scan for one in found))


def write_marks(path: Path, marks: Iterable[TrainingMarks]) -> None:
    """Write the marks of one or several trainings."""
    write_json(
        path,
        {
            "schema": _SCHEMA,
            "patients": {"hash": "scrypt, N = cost", "r": _BLOCK, "p": _LANES, "bytes": 16},
            "scans": {"hash": "HMAC-SHA256", "bytes": 16},
            "marks": [one.as_dict() for one in marks],
        },
    )


def read_marks(path: Path) -> tuple[TrainingMarks, ...]:
    """Read what `write_marks` wrote.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    content = read_json_object(path) or {}
    try:
        if content["schema"] != _SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        if any(not 2 <= one["cost"] <= _MAX_COST for one in content["marks"]):
            raise ValueError("a cost of hashing that is not ours")
        return tuple(
            TrainingMarks(
                salt=bytes.fromhex(one["salt"]),
                cost=int(one["cost"]),
                patients=frozenset(map(str, one["patients"])),
                scans=frozenset(map(str, one["scans"])),
            )
            for one in content["marks"]
        )
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError("cannot read the marks of the training data", found=str(error)) from error
