"""IdentityStore: identifying data of each prepared scan, in the cache."""

from __future__ import annotations

import dataclasses

import numpy as np

from mri_transfer.core.specs import digest
from mri_transfer.core.store import TensorStore
from mri_transfer.scans.preparation.fingerprint import FINGERPRINT_VERSION, Fingerprint

__all__ = ["IdentityStore", "Recognition", "identity_key"]

#: Increment when the same scan would get other identifying data.
_SCHEMA = "mri-transfer/identity/1"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recognition:
    """Identifying data of a scan: its file's content, its voxels, its brain.

    Parameters
    ----------
    content_sha256, voxel_sha256 : str
        Digests of the file's content and of the voxels without their header.
    fingerprint : Fingerprint
    """

    content_sha256: str
    voxel_sha256: str
    fingerprint: Fingerprint


class IdentityStore(TensorStore):
    """Recognitions, addressed by `identity_key`."""

    kind = "identities"
    schema = _SCHEMA

    def put(self, key: str, recognition: Recognition) -> None:
        """Store a scan's recognition."""
        digests = {
            name: np.frombuffer(bytes.fromhex(getattr(recognition, name)), dtype=np.uint8)
            for name in ("content_sha256", "voxel_sha256")
        }
        tensors = {**digests, "fingerprint": recognition.fingerprint.values}
        self._write(key, tensors)

    def get(self, key: str) -> Recognition:
        """Read a scan's recognition.

        Raises
        ------
        StoreError
            If the entry is missing or invalid.
        """
        tensors = self._read(key)
        return Recognition(
            content_sha256=tensors["content_sha256"].tobytes().hex(),
            voxel_sha256=tensors["voxel_sha256"].tobytes().hex(),
            fingerprint=Fingerprint(values=tensors["fingerprint"]),
        )


def identity_key(prepared_key: str) -> str:
    """Return the key of a prepared scan's recognition."""
    return digest({"kind": _SCHEMA, "version": FINGERPRINT_VERSION, "prepared": prepared_key})
