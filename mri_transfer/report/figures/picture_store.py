"""PictureStore: the pictures of a scan in the cache, so that pages are written without the scan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mri_transfer.core.specs import digest
from mri_transfer.core.store import TensorStore

__all__ = ["PictureStore", "picture_key"]

#: Raise when the same scan would give other pictures.
_SCHEMA = "mri-transfer/pictures/2"
_DIGITS = 3


class PictureStore(TensorStore):
    """PNG pictures of prepared scans, addressed by `picture_key`."""

    kind = "pictures"
    schema = _SCHEMA

    def put(self, key: str, pictures: Mapping[str, bytes]) -> None:
        """Store a scan's pictures by name, in their order."""
        tensors = {
            # The file sorts its tensors by name: the number keeps the order.
            f"{number:0{_DIGITS}}{name}": np.frombuffer(png, dtype=np.uint8)
            for number, (name, png) in enumerate(pictures.items())
        }
        self._write(key, tensors)

    def get(self, key: str) -> dict[str, bytes]:
        """Read a scan's pictures.

        Raises
        ------
        StoreError
            If the entry is missing or cannot be trusted.
        """
        tensors = self._read(key)
        return {name[_DIGITS:]: tensors[name].tobytes() for name in sorted(tensors)}


def picture_key(prepared_key: str) -> str:
    """Return the key of a prepared scan's pictures."""
    return digest({"kind": _SCHEMA, "prepared": prepared_key})
