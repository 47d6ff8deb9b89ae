"""What may leave a hospital: sums and shares in which no few people can be seen.

A count from 1 to 4 is not told, and nothing is told from which it could be computed. Instead of
striking out cells, which takes others to be struck out with them, groups are joined until every
count in them is 0 or at least 5; then every sum and difference of them is as well. That holds for
calls too: the thresholds at which rates are told cut the patients of each label into groups of
scores, and a threshold that makes a small one is left out.

The count of 5 is the limit that statistical offices and health services commonly use for tables
of counts (Hundepool et al. 2012, Statistical Disclosure Control, ch. 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["SMALLEST", "is_told", "joined_rows", "safe_cuts", "told_count"]

#: The least count that is told.
SMALLEST = 5


def is_told(count: float) -> bool:
    """Whether a count may be told: 0, or 5 and more."""
    return count == 0 or count >= SMALLEST


def told_count(count: int) -> int | None:
    """Return a count that stands in no sum; None where it is from 1 to 4."""
    return count if is_told(count) else None


def joined_rows(
    names: Sequence[str], rows: Sequence[Sequence[int]]
) -> tuple[list[str], list[list[int]]] | None:
    """Join neighbouring rows of a table until every count may be told.

    Parameters
    ----------
    names : sequence of str
    rows : sequence of sequence of int
        One count a column; neighbours are joined.

    Returns
    -------
    names, rows, or None
        None where even all rows together hold a small count.
    """
    kept: list[tuple[str, list[int]]] = []
    for name, row in zip(names, rows, strict=True):
        if not any(row):
            continue
        kept.append((name, list(row)))
        while len(kept) > 1 and not all(map(is_told, kept[-2][1])):
            _join_last(kept)
    while len(kept) > 1 and not all(map(is_told, kept[-1][1])):
        _join_last(kept)
    if not kept or not all(is_told(count) for _, row in kept for count in row):
        return None
    return [name for name, _ in kept], [row for _, row in kept]


def _join_last(kept: list[tuple[str, list[int]]]) -> None:
    (first, row), (second, other) = kept[-2], kept[-1]
    kept[-2:] = [(f"{first} or {second}", [a + b for a, b in zip(row, other, strict=True)])]


def safe_cuts(scores: npt.ArrayLike, candidates: Sequence[float]) -> list[float]:
    """Return the thresholds that cut scores into groups of 0 or at least 5, all together.

    Parameters
    ----------
    scores : array_like of float, shape (n,)
        Of the patients of one label.
    candidates : sequence of float
        The most important first; each is kept if the groups stay large enough with it.

    Returns
    -------
    list of float
        In the order of the candidates; empty where the patients are too few themselves.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if len(values) < SMALLEST:
        return []
    kept: list[float] = []
    for candidate in candidates:
        cuts = np.searchsorted(values, np.sort([*kept, candidate]), side="left")
        groups = np.diff([0, *cuts.tolist(), len(values)])
        if all(is_told(int(group)) for group in groups):
            kept.append(float(candidate))
    return kept
