"""How differently a characteristic with levels is spread over two groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["standardised_level_difference"]


def standardised_level_difference(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Return the standardised difference of two groups in a characteristic with levels.

    The distance of the two groups' shares in units of their mean covariance (Yang and Dalton 2012,
    SAS Global Forum, paper 335): the counterpart of the standardised difference of means.

    Parameters
    ----------
    first, second : sequence of str
        The level of each member; missing ones left out beforehand.

    Returns
    -------
    float or None
        0 where shares are equal, otherwise above 0: it has no direction. None if a group is
        empty, or if the groups differ where neither varies within itself (one all F, the other
        all M), so that the difference has no unit.
    """
    if not first or not second:
        return None
    levels = sorted({*first, *second})[1:]
    if not levels:
        return 0.0
    shares = [np.array([np.mean([x == level for x in group]) for level in levels])
              for group in (first, second)]  # fmt: skip
    covariance = sum((np.diag(p) - np.outer(p, p) for p in shares), np.zeros(len(levels))) / 2
    ahead = shares[0] - shares[1]
    squared = float(ahead @ np.linalg.pinv(covariance, hermitian=True) @ ahead)
    # Outside the span of the covariance nothing varies, and the difference has no unit.
    inside = covariance @ np.linalg.pinv(covariance, hermitian=True) @ ahead
    if not np.allclose(inside, ahead, atol=1e-9):
        return None
    return float(np.sqrt(max(squared, 0.0)))
