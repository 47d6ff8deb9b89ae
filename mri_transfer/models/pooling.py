"""Pooling: how the maps of a slice become its vector of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, get_args

import torch

__all__ = ["POOLINGS", "PoolMaps", "Pooling", "PoolingEntry"]

Pooling = Literal["max", "average", "flatten"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolingEntry:
    """One way of pooling.

    Attributes
    ----------
    pool : callable
        Maps (n, channels, rows, columns) to features (n, n_features).
    n_features : callable
        Channels, rows and columns of the maps to features of a slice.
    words : str
        What a feature is.
    """

    pool: Callable[[torch.Tensor], torch.Tensor]
    n_features: Callable[[int, int, int], int]
    words: str


POOLINGS: dict[str, PoolingEntry] = {
    "max": PoolingEntry(
        pool=lambda maps: maps.amax((2, 3)),
        n_features=lambda channels, rows, columns: channels,
        words="largest value of each map",
    ),
    "average": PoolingEntry(
        pool=lambda maps: maps.mean((2, 3)),
        n_features=lambda channels, rows, columns: channels,
        words="mean of each map",
    ),
    "flatten": PoolingEntry(
        pool=lambda maps: maps.flatten(1),
        n_features=lambda channels, rows, columns: channels * rows * columns,
        words="every position of each map",
    ),
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
