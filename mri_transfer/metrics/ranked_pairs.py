"""Pairs of patients of two labels, without a matrix of them: sums over pairs by sorting.

A matrix of who outscores whom has a cell for every pair. Above `MAX_PAIRS` of them it is
not made: scores are sorted once, and what a resample of patients needs follows from running sums of
weights in that order. The sums are the same but for rounding.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import FloatArray, IntArray

__all__ = ["RankedPairs", "is_many", "pair_sums"]

#: 32 MB in double precision; 4000 patients, half of them positive.
MAX_PAIRS = 4_000_000


def is_many(n_upper: int, n_lower: int) -> bool:
    """Return whether there are too many pairs for a matrix."""
    return n_upper * n_lower > MAX_PAIRS


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Order:
    """Who outscores whom by one set of scores.

    Attributes
    ----------
    share : float
        What a pair won counts; negative where it is subtracted.
    upper_owner : ndarray of int64, shape (n_upper_scores,)
        Whose each score of the upper label is.
    lower_owner : ndarray of int64, shape (n_lower_scores,)
        The same of the lower label, from the lowest score up.
    below, up_to : ndarray of int64, shape (n_upper_scores,)
        How many scores of the lower label are lower than, and not higher than, each upper one.
    """

    share: float
    upper_owner: IntArray
    lower_owner: IntArray
    below: IntArray
    up_to: IntArray

    def sums(self, upper: FloatArray, lower: FloatArray) -> FloatArray:
        running = np.zeros((len(lower), len(self.lower_owner) + 1))
        np.cumsum(lower[:, self.lower_owner], axis=1, out=running[:, 1:])
        won = running[:, self.below]
        won += running[:, self.up_to]
        return np.asarray(
            0.5 * self.share * np.einsum("bi,bi->b", won, upper[:, self.upper_owner]),
            dtype=np.float64,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RankedPairs:
    """What a matrix of pairs would say, shape (n_upper, n_lower).

    Attributes
    ----------
    shape : tuple of int
        Patients of either label.
    orders : tuple
        Of which the entries of the matrix are the sum.
    """

    shape: tuple[int, int]
    orders: tuple[_Order, ...]

    @classmethod
    def of_repeats(cls, upper: FloatArray, lower: FloatArray) -> Self:
        """Return the share of repeats in which each `upper` patient outscores each `lower` one.

        Parameters
        ----------
        upper, lower : ndarray of float64, shape (n_repeats, n_upper) and (n_repeats, n_lower)
            Ties count one half.
        """
        owners = [np.arange(side.shape[1]) for side in (upper, lower)]
        orders = [
            _order(row, other, owners[0], owners[1], share=1.0 / len(upper))
            for row, other in zip(upper, lower, strict=True)
        ]
        return cls(shape=(upper.shape[1], lower.shape[1]), orders=tuple(orders))

    @classmethod
    def of_slices(
        cls,
        upper: npt.NDArray[np.floating[Any]],
        lower: npt.NDArray[np.floating[Any]],
        upper_owner: IntArray,
        lower_owner: IntArray,
        shape: tuple[int, int],
    ) -> Self:
        """Return in how many pairs of slices each `upper` patient outscores each `lower` one.

        Parameters
        ----------
        upper, lower : ndarray, shape (n_upper_slices,) and (n_lower_slices,)
            Ties count one half.
        upper_owner, lower_owner : ndarray of int64, of the same shapes
            Whose each slice is.
        shape : tuple of int
            Patients of either label.
        """
        return cls(shape=shape, orders=(_order(upper, lower, upper_owner, lower_owner, share=1.0),))

    @property
    def size(self) -> int:
        """Number of pairs."""
        return self.shape[0] * self.shape[1]

    def sums(self, upper: FloatArray, lower: FloatArray) -> FloatArray:
        """Return sums over pairs, each counting the product of its patients' weights.

        Parameters
        ----------
        upper, lower : ndarray of float64, shape (b, n_upper) and (b, n_lower)

        Returns
        -------
        ndarray of float64, shape (b,)
        """
        sums = [order.sums(upper, lower) for order in self.orders]
        return np.asarray(np.sum(sums, axis=0), dtype=np.float64)

    def __sub__(self, other: RankedPairs) -> RankedPairs:
        negative = [dataclasses.replace(order, share=-order.share) for order in other.orders]
        return dataclasses.replace(self, orders=(*self.orders, *negative))


def _order(
    upper: npt.NDArray[np.floating[Any]],
    lower: npt.NDArray[np.floating[Any]],
    upper_owner: IntArray,
    lower_owner: IntArray,
    *,
    share: float,
) -> _Order:
    rank = np.argsort(lower, kind="stable")
    ordered = lower[rank]
    return _Order(
        share=share,
        upper_owner=upper_owner,
        lower_owner=lower_owner[rank],
        below=np.searchsorted(ordered, upper, side="left"),
        up_to=np.searchsorted(ordered, upper, side="right"),
    )


def pair_sums(pairs: FloatArray | RankedPairs, upper: FloatArray, lower: FloatArray) -> FloatArray:
    """Return sums over pairs of a matrix, or of what stands for one; see `RankedPairs.sums`."""
    if isinstance(pairs, RankedPairs):
        return pairs.sums(upper, lower)
    return np.asarray(((upper @ pairs) * lower).sum(axis=1), dtype=np.float64)
