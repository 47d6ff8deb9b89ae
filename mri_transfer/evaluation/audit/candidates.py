"""Pairs of scans worth a comparison, where a cohort is too large to compare all.

Every scan's long row of values is projected onto a few hundred random directions, which keep
cosines to within a few hundredths (Johnson and Lindenstrauss 1984, Contemp Math 26:189-206). The
sketches of all pairs are compared; only pairs whose sketches come near a threshold are compared in
full. So what is reported is exact, and a pair at a threshold of .5 or more is missed with a chance
of less than one in a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mri_transfer.core.arrays import FloatArray, IntArray, SingleArray

__all__ = ["MAX_PAIRS", "Sketcher", "near_pairs"]

#: So many pairs are all compared in full: 2000 scans with each other.
MAX_PAIRS = 2000 * 2000
#: Directions. The cosine of two sketches strays from that of the rows by a standard deviation of
#: (1 - cosine^2) / sqrt(_DIRECTIONS), .028 at a cosine of .6.
_DIRECTIONS = 512
#: What a sketch may fall short of the threshold by: more than four standard deviations.
_MARGIN = 0.15
#: Sketches of unlike rows reach this in a few of a million pairs.
_LEAST_COSINE = 0.2
#: Directions are the same for every cohort.
_SEED = 20_261_129
#: Sketches compared at once: 16 MB a block.
_BLOCK = 2048


class Sketcher:
    """Random directions for rows of one length.

    Parameters
    ----------
    n_values : int
        Length of a row.
    """

    def __init__(self, n_values: int) -> None:
        rng = np.random.default_rng(_SEED)
        signs = rng.integers(0, 2, (n_values, _DIRECTIONS), dtype=np.int8)
        self._directions = 2.0 * signs.astype(np.float32) - 1.0

    def sketches(self, rows: Iterable[SingleArray]) -> SingleArray:
        """Return sketches of unit length; of a row of zeros, zeros.

        Parameters
        ----------
        rows : iterable of ndarray of float32, shape (n_rows, n_values)
            Blocks of rows.
        """
        found = [block @ self._directions for block in rows]
        if not found:
            return np.zeros((0, _DIRECTIONS), dtype=np.float32)
        whole = np.concatenate(found)
        lengths = np.linalg.norm(whole, axis=1, keepdims=True)
        scaled: SingleArray = (whole / np.maximum(lengths, 1e-12)).astype(np.float32)
        return scaled


def near_pairs(
    sketches: SingleArray,
    second: SingleArray,
    *,
    at_least: float,
    within: bool,
    shown: tuple[FloatArray, FloatArray] | None = None,
) -> Iterator[IntArray]:
    """Yield the pairs of rows whose cosine may reach some figure, judged by their sketches.

    Parameters
    ----------
    sketches, second : ndarray of float32, shape (n, n_directions) and (m, n_directions)
    at_least : float
        The cosine over what both rows of a pair show.
    within : bool
        Whether both are of one cohort: then each pair is looked at once, and none of a row with
        itself.
    shown : tuple of ndarray of float64, shape (n,) and (m,), optional
        The share of a row that is not zero. What only one of two shows lowers the cosine of whole
        rows, and the limit is lowered as if the smaller part lay within the larger.

    Yields
    ------
    ndarray of int64, shape (n_pairs, 2)
        Positions; within a cohort the smaller one first.
    """
    shares = shown or (np.ones(len(sketches)), np.ones(len(second)))
    # By what they show, so that limits differ little inside a block.
    rows, columns = (np.argsort(share, kind="stable") for share in shares)
    for i in range(0, len(rows), _BLOCK):
        for j in range(i if within else 0, len(columns), _BLOCK):
            at, beside = rows[i : i + _BLOCK], columns[j : j + _BLOCK]
            parts = np.concatenate([shares[0][at], shares[1][beside]])
            ratio = float(np.sqrt(parts.min() / max(parts.max(), 1e-12)))
            limit = max(at_least * ratio - _MARGIN, _LEAST_COSINE)
            near = sketches[at] @ second[beside].T >= limit
            if within and i == j:
                near = np.triu(near, 1)
            found = np.argwhere(near)
            pairs = np.column_stack([at[found[:, 0]], beside[found[:, 1]]])
            yield np.sort(pairs, axis=1) if within else pairs
