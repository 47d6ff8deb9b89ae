"""Results that took long to compute, kept so that a killed stage does not repeat them."""

from __future__ import annotations

from typing import Any

from mri_transfer.core.store import JsonStore

__all__ = ["ResultStore"]


class ResultStore(JsonStore):
    """JSON objects, addressed by the digest of everything that shaped them."""

    kind = "results"
    schema = "mri-transfer/result/1"

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the result of a key, or None if there is none that can be trusted."""
        return self._read(key) if key in self else None

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
        self._write(key, result)
