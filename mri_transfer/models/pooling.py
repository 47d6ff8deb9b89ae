"""Pooling: how the maps of a slice become its vector of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.models.pooling_methods import Pooling

__all__ = ["POOLINGS", "Maxima", "PoolMaps", "count_features"]


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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Maxima:
    """Where each channel's largest value lies; nothing else has a gradient under max pooling.

    Attributes
    ----------
    cells : tuple of int
        Rows and columns of the maps.
    first : ndarray of unsigned integers, shape (n_slices, channels)
        Position in the map, row by row, of the first of the largest values; `rows * columns` where
        that value is 0 (a ReLU's silent channel, which contributes nothing) or not a number.
    ties : ndarray of int32, shape (n_ties, 3)
        Slice, channel and position of every further place that holds the same largest value. In
        bf16 they are not rare.
    """

    cells: tuple[int, int]
    first: npt.NDArray[np.unsignedinteger[Any]]
    ties: npt.NDArray[np.int32]

    @classmethod
    def of(cls, maps: torch.Tensor) -> Self:
        """Find the largest values of maps (n_slices, channels, rows, columns)."""
        n_slices, channels, rows, columns = maps.shape
        n_cells = rows * columns
        first = np.full((n_slices, channels), n_cells, dtype=np.min_scalar_type(n_cells))
        ties = [np.zeros((0, 3), dtype=np.int32)]
        for s, own in enumerate(maps.cpu()):
            values = own.flatten(1).numpy()
            largest = values.max(axis=1, keepdims=True)
            is_largest = (values == largest) & (largest != 0)
            channel = np.flatnonzero(is_largest.any(axis=1))
            place = is_largest[channel].argmax(axis=1)
            first[s, channel] = place
            is_largest[channel, place] = False
            further = np.argwhere(is_largest).astype(np.int32)
            ties.append(np.insert(further, 0, s, axis=1))
        return cls(cells=(rows, columns), first=first, ties=np.concatenate(ties))

    def spread(self, features: npt.NDArray[np.float32], s: int) -> npt.NDArray[np.float32]:
        """Return a slice's largest values at their places, shared among ties, 0 elsewhere.

        Parameters
        ----------
        features : ndarray of float32, shape (n_slices, channels)
            The largest values.
        s : int
            The slice.

        Returns
        -------
        ndarray of float32, shape (channels, rows * columns)
        """
        n_cells = self.cells[0] * self.cells[1]
        active = np.flatnonzero(self.first[s] < n_cells)
        tied = self.ties[self.ties[:, 0] == s]
        channels = np.concatenate([active, tied[:, 1]])
        places = np.concatenate([self.first[s, active], tied[:, 2]])
        n_sharing = np.bincount(channels)[channels].astype(np.float32)
        # In the order of a trunk's own maps, channels last: matrix products then round alike.
        spread = np.zeros((n_cells, features.shape[1]), dtype=np.float32)
        spread[places, channels] = features[s, channels] * (np.float32(1) / n_sharing)
        return spread.T
