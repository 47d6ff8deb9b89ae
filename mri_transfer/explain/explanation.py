"""Explanation: what the stage `explain` found, its files and their reader."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["SCHEMA", "Explanation", "read_explanation"]

SCHEMA = "mri-transfer/explanation/1"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Attributions of a cohort, each scan by heads that had never seen its patient.

    Attributes
    ----------
    document : mapping
        `explanation.json`: methods, agreement, sanity checks, regions, what is known of the truth.
    scan_ids : tuple of str, length n_scans
    maps : ndarray of float32, shape (n_scans, n_slices, rows, columns)
        Signed attribution to the log-odds, mean over repeats; above 0 speaks for the positive
        label. Rows and columns are those of the trunk's maps and cover the whole slice.
    slice_weights : ndarray of float32, shape (n_scans, n_slices)
        Each slice's share in the scan's log-odds, mean over repeats; signed like the maps.
    neighbours : DataFrame
        `repeat, patient_id, rank, neighbour_id, label, distance`: for each patient the nearest
        patients of the training cohort that scored it, by feature.
    """

    document: Mapping[str, Any]
    scan_ids: tuple[str, ...]
    maps: npt.NDArray[np.float32]
    slice_weights: npt.NDArray[np.float32]
    neighbours: pd.DataFrame


def read_explanation(folder: Path) -> Explanation:
    """Read what the stage `explain` wrote into `RUN/explanations`."""
    raise NotImplementedError(folder)
