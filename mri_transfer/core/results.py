"""Expensive results, kept so that an interrupted stage need not recompute them."""

from __future__ import annotations

from typing import Any

from mri_transfer.core.store import JsonStore

__all__ = ["ResultStore"]


class ResultStore(JsonStore):
    """JSON objects, addressed by the digest of all their inputs."""

    kind = "results"
    schema = "mri-transfer/result/1"

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the result of a key, or None if it is missing or invalid."""
        return self._read(key) if key in self else None

    def put(self, key: str, result: dict[str, Any]) -> None:
        """Store a result.

        Parameters
        ----------
        key : str
        result : dict
            JSON values; numbers round-trip exactly.

        Raises
        ------
        ValueError
            If it contains NaN or infinity.
        """
        self._write(key, result)
