"""Results that took long to compute, kept so that a killed stage does not repeat them."""

from __future__ import annotations

from typing import Any

from mri_transfer.files import atomic_write_text, read_json_object
from mri_transfer.specs import canonical_json, digest
from mri_transfer.store import ContentStore

__all__ = ["ResultStore"]


class ResultStore(ContentStore):
    """JSON objects, addressed by the digest of everything that shaped them.

    A result is written whole or not at all, with its own digest beside it: whatever is damaged,
    cut off or edited counts as missing, and is computed again.
    """

    kind = "results"
    suffix = ".json"

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the result of a key, or None if there is none that can be trusted."""
        content = read_json_object(self.path(key))
        if content is None or content.keys() != {"key", "result", "sha256"}:
            return None
        result = content["result"]
        if content["key"] != key or not isinstance(result, dict):
            return None
        return result if _digest_or_none(result) == content["sha256"] else None

    def put(self, key: str, result: dict[str, Any]) -> None:
        """Store a result.

        Parameters
        ----------
        key : str
        result : dict
            Values of JSON; numbers come back as the same bits.

        Raises
        ------
        ValueError
            If it holds NaN or an infinity.
        """
        content = {"key": key, "result": result, "sha256": digest(result)}
        atomic_write_text(self.path(key), canonical_json(content) + "\n")


def _digest_or_none(result: dict[str, Any]) -> str | None:
    # Readers of JSON accept NaN, which no result is written with, and lone surrogates.
    try:
        return digest(result)
    except ValueError:
        return None
