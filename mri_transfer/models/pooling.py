"""Pooling: how the maps of a slice become its vector of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import get_args

import torch

from mri_transfer.models.pooling_methods import Pooling

__all__ = ["POOLINGS", "PoolMaps", "count_features"]


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One way of pooling: maps (n, channels, rows, columns) to features, and what a feature is."""

    pool: Callable[[torch.Tensor], torch.Tensor]
    words: str


POOLINGS = {
    "max": _Entry(lambda maps: maps.amax((2, 3)), "largest value of each map"),
    "average": _Entry(lambda maps: maps.mean((2, 3)), "mean of each map"),
    "flatten": _Entry(lambda maps: maps.flatten(1), "every position of each map"),
}
assert tuple(POOLINGS) == get_args(Pooling)


class PoolMaps(torch.nn.Module):
    """Maps of slices to features.

    Parameters
    ----------
    method : str
        A name of `POOLINGS`.
    """

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method
        self._pool = POOLINGS[method].pool

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return features (n, n_features) of maps (n, channels, rows, columns)."""
        return self._pool(maps)


def count_features(method: str, *, channels: int, rows: int, columns: int) -> int:
    """Return how many features a slice has whose maps have this shape."""
    maps = torch.zeros(1, channels, rows, columns, device="meta")
    return int(PoolMaps(method)(maps).shape[1])
