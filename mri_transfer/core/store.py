"""Content-addressed storage: an artefact is stored under the digest of all its inputs.

Each entry contains a digest of its kind, key and content, which is verified on every read. An entry
that is damaged, truncated or stored under the wrong key counts as missing: it is reported in a
warning and recomputed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mri_transfer.core.files import atomic_write_text, read_json_object
from mri_transfer.core.specs import canonical_json
from mri_transfer.core.tensorfile import read_marked, write_marked
from mri_transfer.errors import StoreError

__all__ = ["ContentStore", "JsonStore", "TensorStore"]

_LOG = logging.getLogger(__name__)

#: An entry's mark: its schema, its key and the digest of both with the content.
_MARK = "entry"
#: Old entries, without marks: they may be intact, but cannot be verified.
_UNMARKED = ({"schema"}, {"key", "result", "sha256"})


class ContentStore:
    """Files named by key, in folders named by the key's first two characters.

    Subclasses define in `verify` when an entry is valid.

    Parameters
    ----------
    cache : Path
        Folder shared by runs; the store uses its subfolder `kind`.
    """

    kind: ClassVar[str] = ""
    suffix: ClassVar[str] = ".safetensors"
    schema: ClassVar[str] = ""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / self.kind

    def path(self, key: str) -> Path:
        """Return the path of a key's artefact, whether it exists or not."""
        return self.folder / key[:2] / f"{key}{self.suffix}"

    def __contains__(self, key: str) -> bool:
        """Return whether there is a valid entry; log a warning for an invalid one."""
        if not self.path(key).is_file():
            return False
        try:
            self.verify(key)
        except StoreError as error:
            if not self._is_unmarked(key):
                _LOG.warning("%s", error)
            return False
        return True

    def verify(self, key: str) -> None:
        """Read an entry and verify its digest.

        Raises
        ------
        StoreError
            If it is missing, damaged, or belongs to another key.
        """
        raise NotImplementedError

    def _is_unmarked(self, key: str) -> bool:
        """Return whether an entry is an old one without a mark."""
        raise NotImplementedError

    def _refusal(self, key: str, found: str) -> StoreError:
        return StoreError(
            f"a cached entry of {self.kind} is damaged or does not match its key",
            where=str(self.path(key)),
            found=found,
            remedy="It counts as missing and is recomputed",
        )

    def _demand_mark(self, key: str, mark: object, digest: str) -> None:
        """Refuse an entry whose mark does not match its key and content."""
        if not isinstance(mark, dict) or mark.keys() != {"schema", "key", "sha256"}:
            raise self._refusal(key, "no digest")
        if mark["schema"] != self.schema:
            raise self._refusal(key, f"schema {mark['schema']}")
        if mark["key"] != key:
            raise self._refusal(key, f"the entry of key {str(mark['key'])[:16]}")
        if mark["sha256"] != digest:
            raise self._refusal(key, f"content with another digest, {digest[:16]}")

    def _mark(self, key: str, digest: str) -> dict[str, str]:
        return {"schema": self.schema, "key": key, "sha256": digest}

    def _hash(self, key: str) -> hashlib._Hash:
        return hashlib.sha256(f"{self.schema}\n{key}\n".encode())


class TensorStore(ContentStore):
    """Arrays by name, in safetensors files."""

    def verify(self, key: str) -> None:
        """Read an entry and verify its digest; see `ContentStore.verify`."""
        self._read(key)

    def _write(self, key: str, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        mark = self._mark(key, self._digest(key, tensors))
        write_marked(self.path(key), tensors, mark={_MARK: canonical_json(mark)})

    def _read(self, key: str) -> dict[str, npt.NDArray[Any]]:
        """Return an entry's arrays; raise StoreError if it is invalid."""
        marks, tensors = read_marked(self.path(key))
        try:
            mark = json.loads(marks.get(_MARK, "null"))
        except ValueError as error:
            raise self._refusal(key, "an unreadable mark") from error
        self._demand_mark(key, mark, self._digest(key, tensors))
        return tensors

    def _digest(self, key: str, tensors: Mapping[str, npt.NDArray[Any]]) -> str:
        sha = self._hash(key)
        for name in sorted(tensors):
            array = np.ascontiguousarray(tensors[name])
            sha.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            sha.update(array.tobytes())
        return sha.hexdigest()

    def _is_unmarked(self, key: str) -> bool:
        try:
            return set(read_marked(self.path(key))[0]) in _UNMARKED
        except StoreError:
            return False


class JsonStore(ContentStore):
    """JSON objects; numbers round-trip exactly."""

    suffix = ".json"

    def verify(self, key: str) -> None:
        """Read an entry and verify its digest; see `ContentStore.verify`."""
        self._read(key)

    def _write(self, key: str, content: Mapping[str, Any]) -> None:
        """Write an entry; raise ValueError if it contains NaN or infinity."""
        mark = self._mark(key, self._digest(key, content))
        atomic_write_text(self.path(key), canonical_json({_MARK: mark, "content": content}) + "\n")

    def _read(self, key: str) -> dict[str, Any]:
        """Return an entry's content; raise StoreError if it is invalid."""
        document = read_json_object(self.path(key))
        if document is None:
            raise self._refusal(key, "no JSON object")
        content = document.get("content")
        if document.keys() != {_MARK, "content"} or not isinstance(content, dict):
            raise self._refusal(key, "no digest")
        try:
            digest = self._digest(key, content)
        except ValueError as error:
            # JSON readers accept NaN and lone surrogates, which are never written.
            raise self._refusal(key, str(error)) from error
        self._demand_mark(key, document[_MARK], digest)
        return content

    def _digest(self, key: str, content: Mapping[str, Any]) -> str:
        sha = self._hash(key)
        sha.update(canonical_json(content).encode())
        return sha.hexdigest()

    def _is_unmarked(self, key: str) -> bool:
        document = read_json_object(self.path(key)) or {}
        return "schema" in document or set(document) in _UNMARKED
