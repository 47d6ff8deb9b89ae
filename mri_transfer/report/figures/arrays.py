"""Figures of documents as arrays: what is missing is NaN, which no plot draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mri_transfer.metrics.intervals import Estimate

__all__ = ["FloatArray", "estimate_arrays", "floats"]

FloatArray = npt.NDArray[np.float64]


def floats(values: Sequence[float | None]) -> FloatArray:
    """Return values as an array; NaN where there is none."""
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def estimate_arrays(entries: Sequence[Estimate]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return values, lower and upper limits of estimates; NaN where they have none."""
    value, low, high = (
        floats([getattr(entry, name) for entry in entries])
        for name in ("value", "ci_low", "ci_high")
    )
    return value, low, high
