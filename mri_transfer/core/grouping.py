"""Where each name of a sequence stands: in one pass, however many names there are."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

import numpy as np

from mri_transfer.core.arrays import IntArray

__all__ = ["positions_by_name"]

Name = TypeVar("Name", bound=Hashable)


def positions_by_name(names: Iterable[Name]) -> dict[Name, IntArray]:
    """Return the positions of each name, ascending; names in the order of their appearance.

    A mask for each name would take time that grows with the square of a cohort.

    Parameters
    ----------
    names : iterable of hashable
        Such as the patient of every scan.

    Returns
    -------
    dict of name to ndarray of int64
    """
    found: dict[Name, list[int]] = {}
    for position, name in enumerate(names):
        found.setdefault(name, []).append(position)
    return {name: np.array(positions, dtype=np.int64) for name, positions in found.items()}
