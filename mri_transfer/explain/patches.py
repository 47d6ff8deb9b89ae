"""Pictures divided into cells: edges, means and sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["cell_edges", "cell_means", "cell_sums", "join_cells"]

DoubleArray = npt.NDArray[np.float64]


def cell_edges(n_px: int, n_cells: int) -> npt.NDArray[np.int64]:
    """Return where cells begin and the last one ends, shape (n_cells + 1,)."""
    return np.rint(np.linspace(0, n_px, n_cells + 1)).astype(np.int64)


def cell_sums(pictures: npt.NDArray[np.floating[Any]], cells: tuple[int, int]) -> DoubleArray:
    """Return the sums over cells, shape (n, rows, columns).

    Parameters
    ----------
    pictures : ndarray, shape (n, height, width)
    cells : tuple of int
        Rows and columns of cells.
    """
    sums = np.asarray(pictures, dtype=np.float64)
    for axis, n_cells in enumerate(cells, start=1):
        starts = cell_edges(sums.shape[axis], n_cells)[:-1]
        sums = np.add.reduceat(sums, starts, axis=axis)
    return sums


def cell_means(pictures: npt.NDArray[np.floating[Any]], cells: tuple[int, int]) -> DoubleArray:
    """Return the means over cells, shape (n, rows, columns)."""
    found: DoubleArray = cell_sums(pictures, cells) / cell_sums(
        np.ones((1, *pictures.shape[1:])), cells
    )
    return found


def join_cells(maps: npt.NDArray[np.floating[Any]], per_patch: int) -> DoubleArray:
    """Return the sums over patches of cells; the last patch of an axis may be smaller.

    Parameters
    ----------
    maps : ndarray, shape (n, rows, columns)
    per_patch : int
        Cells along a patch's edge.
    """
    sums = np.asarray(maps, dtype=np.float64)
    for axis in (1, 2):
        sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], per_patch), axis=axis)
    return sums
