"""Patient covariates, read from the columns of a patient table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["covariate_levels", "covariate_numbers", "find_column"]


FloatArray = npt.NDArray[np.float64]


TextArray = npt.NDArray[np.object_]


def find_column(patients: pd.DataFrame, names: Iterable[str]) -> str | None:
    """Return the first of `names` that is a column, ignoring case, or None."""
    known = {str(column).lower(): str(column) for column in patients.columns}
    return next((known[name] for name in names if name in known), None)


def covariate_numbers(patients: pd.DataFrame, name: str) -> FloatArray:
    """Return a column as float64, shape (n,); NaN where missing or not a finite number."""
    values = pd.to_numeric(patients[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def covariate_levels(patients: pd.DataFrame, name: str) -> TextArray:
    """Return a column as text, shape (n,); empty where missing, integers without a point."""

    def text(value: Any) -> str:
        if pd.isna(value):
            return ""
        return f"{value:g}" if isinstance(value, float) else str(value).strip()

    return np.array([text(value) for value in patients[name]], dtype=object)
