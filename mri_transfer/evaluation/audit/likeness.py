"""How alike the fingerprints of scans are: correlations of all pairs, in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from mri_transfer.core.arrays import FloatArray, IntArray, SingleArray
from mri_transfer.evaluation.audit.candidates import Sketcher, near_pairs
from mri_transfer.scans.preparation.fingerprint import VOXEL_MM3, Fingerprint

__all__ = ["alike_pairs", "compare_blocks", "compare_with", "similarities"]

Fingerprints: TypeAlias = Sequence[Fingerprint | None]

#: Scans that are compared at once: 30 MB an array, whatever the size of the cohort.
_BLOCK = 256


def similarities(
    prints: Fingerprints, second: Fingerprints | None = None, *, min_shared_ml: float = 200.0
) -> SingleArray:
    """Return how alike every scan and every other one are.

    Parameters
    ----------
    prints : sequence of Fingerprint or None
        None for a scan that has none.
    second : sequence of Fingerprint or None, optional
        A second cohort; without it, the first is compared with itself.
    min_shared_ml : float
        Brain that both must show, in millilitres.

    Returns
    -------
    ndarray of float32, shape (n_prints, n_second)
        Correlation over the brain that both show, -1 to 1, with left and right exchanged in one
        if that fits better; NaN where two cannot be compared, and for a scan with itself.
    """
    n_columns = len(prints if second is None else second)
    whole = np.full((len(prints), n_columns), np.nan, dtype=np.float32)
    blocks = compare_blocks(prints, second, min_shared_ml=min_shared_ml)
    for rows_at, columns_at, plain, mirrored in blocks:
        whole[rows_at, columns_at] = np.fmax(plain, mirrored)
        if second is None:
            whole[columns_at, rows_at] = whole[rows_at, columns_at].T
    if second is None:
        np.fill_diagonal(whole, np.nan)
    return whole


def compare_blocks(
    prints: Fingerprints, second: Fingerprints | None = None, *, min_shared_ml: float
) -> Iterator[tuple[slice, slice, SingleArray, SingleArray]]:
    """Yield blocks of pairs: rows, columns, and correlations as they are and mirrored.

    Within one cohort no block below the diagonal is yielded; a block on it holds each pair twice.
    See `similarities`.
    """
    columns = prints if second is None else second
    for rows_from in range(0, len(prints), _BLOCK):
        rows_at = slice(rows_from, rows_from + _BLOCK)
        rows = _stacked(prints[rows_at])
        for columns_from in range(rows_from if second is None else 0, len(columns), _BLOCK):
            columns_at = slice(columns_from, columns_from + _BLOCK)
            block = columns[columns_at]
            mirror_images = [None if scan is None else scan.mirrored() for scan in block]
            plain, mirrored = (
                _correlations(*rows, *_stacked(side), min_shared_ml * 1000 / VOXEL_MM3)
                for side in (block, mirror_images)
            )
            yield rows_at, columns_at, plain, mirrored


def compare_with(
    one: Fingerprint | None, others: Fingerprints, *, min_shared_ml: float
) -> tuple[SingleArray, SingleArray]:
    """Return correlations of one scan with others, as they are and mirrored, shape (n_others,)."""
    row = _stacked([one])
    mirror_images = [None if scan is None else scan.mirrored() for scan in others]
    plain, mirrored = (
        _correlations(*row, *_stacked(side), min_shared_ml * 1000 / VOXEL_MM3)[0]
        for side in (others, mirror_images)
    )
    return plain, mirrored


def alike_pairs(
    prints: Fingerprints, second: Fingerprints | None = None, *, at_least: float
) -> Iterator[IntArray]:
    """Yield pairs that may correlate by some figure or more, as they are or mirrored.

    They are found by sketches (`audit.candidates`); a few of them correlate less. Where two scans
    show parts of the brain that overlap little, a pair can be missed.

    Parameters
    ----------
    prints, second
        As in `similarities`.
    at_least : float

    Yields
    ------
    ndarray of int64, shape (n_pairs, 2)
        Positions in `prints`, and in `second` where there is one.
    """
    columns = prints if second is None else second
    sizes = {scan.values.size for scan in (*prints, *columns) if scan is not None}
    if not sizes:
        return
    n_values = max(sizes)
    sketcher = Sketcher(n_values)
    within, shown = second is None, (_covered_share(prints), _covered_share(columns))
    rows = sketcher.sketches(_blocks(prints, n_values))
    plain = rows if within else sketcher.sketches(_blocks(columns, n_values))
    mirrored = sketcher.sketches(_blocks(columns, n_values, mirrored=True))
    for side in (plain, mirrored):
        yield from near_pairs(rows, side, at_least=at_least, within=within, shown=shown)


def _covered_share(prints: Fingerprints) -> FloatArray:
    return np.array([0.0 if scan is None else float(scan.covered.mean()) for scan in prints])


def _blocks(
    prints: Fingerprints, n_values: int, *, mirrored: bool = False
) -> Iterator[SingleArray]:
    """Yield rows of values, 0 where nothing is covered."""
    for start in range(0, len(prints), _BLOCK):
        block = prints[start : start + _BLOCK]
        if mirrored:
            block = [None if scan is None else scan.mirrored() for scan in block]
        values = _stacked(block)[0]
        yield values if values.shape[1] else np.zeros((len(block), n_values), dtype=np.float32)


def _stacked(prints: Fingerprints) -> tuple[SingleArray, SingleArray]:
    """Return values and weights (1 where covered), one row a scan."""
    n_values = next((scan.values.size for scan in prints if scan is not None), 0)
    values = np.zeros((len(prints), n_values), dtype=np.float32)
    weights = np.zeros_like(values)
    for row, scan in enumerate(prints):
        if scan is not None:
            weights[row] = scan.covered
            values[row] = scan.values * weights[row]
    return values, weights


def _correlations(
    values: SingleArray,
    weights: SingleArray,
    other_values: SingleArray,
    other_weights: SingleArray,
    min_shared: float,
) -> SingleArray:
    """Return correlations over what both cover, NaN where that is too little."""
    correlations = np.full((len(values), len(other_values)), np.nan, dtype=np.float32)
    if values.shape[1] != other_values.shape[1]:
        # A block without any fingerprint.
        return correlations
    shared = weights @ other_weights.T
    # No means are taken off: a pattern holds what is left when the neighbourhood's mean is gone.
    powers = (values**2 @ other_weights.T) * (weights @ (other_values**2).T)
    known = (shared >= min_shared) & (powers > 0)
    correlations[known] = (values @ other_values.T)[known] / np.sqrt(powers[known])
    # The last digits depend on the order of sums, and so on the machine.
    return correlations.round(4)
