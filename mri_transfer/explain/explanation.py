"""Explanation: what the stage `explain` found, its files and their reader."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.core.tensorfile import read_tensors, write_tensors
from mri_transfer.errors import RunFolderError
from mri_transfer.explain.document import ExplanationDocument

__all__ = [
    "DOCUMENT",
    "NEIGHBOUR_COLUMNS",
    "Explanation",
    "read_explanation",
    "write_explanation",
]

#: The file that is written last: a folder that has it is complete.
DOCUMENT = "explanation.json"

_TENSORS = "maps.safetensors"
_TABLE = "neighbours.csv"
_MAPS_SCHEMA = "mri-transfer/explanation-maps/2"
NEIGHBOUR_COLUMNS = ("repeat", "patient_id", "rank", "neighbour_id", "label", "distance")
#: What names of arrays begin with in the file of arrays.
_GROUP, _PIXELS = "group ", "pixel_attribution "


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Attributions of a cohort, each scan by heads that had never seen its patient.

    Attributes
    ----------
    document : ExplanationDocument
    scan_ids : tuple of str, length n_scans
        Empty where maps were not asked for.
    maps : ndarray of float32, shape (n_scans, n_slices, rows, columns)
        Signed attribution to the log-odds, mean over repeats; above 0 speaks for the positive
        label. Rows and columns are those of the trunk's maps and cover the whole slice.
    slice_weights : ndarray of float32, shape (n_scans, n_slices)
        Each slice's share in the scan's log-odds, mean over repeats; signed like the maps.
    neighbours : DataFrame
        `repeat, patient_id, rank, neighbour_id, label, distance`: for each patient the nearest
        patients of the training cohort that scored it, by feature.
    groups : mapping of str to ndarray of float32
        Mean maps of groups on one grid, (X, Y, Z), by the `name` of `document.groups`, and
        `background`, the mean scan on the same grid.
    pixel_attribution : mapping of str to ndarray
        `gradients <n>` (n_slices, rows_px, columns_px) and `occlusion <n>` (n_slices, rows,
        columns) of the n-th of `document.pixel_attribution`.
    contrast : ndarray of float32, shape (n, n_slices, rows, columns), or None
        Contrast maps of the scans that `document.contrast` names, in standard deviations; None
        where nobody got them.
    """

    document: ExplanationDocument
    scan_ids: tuple[str, ...]
    maps: npt.NDArray[np.float32]
    slice_weights: npt.NDArray[np.float32]
    neighbours: pd.DataFrame
    groups: Mapping[str, npt.NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    pixel_attribution: Mapping[str, npt.NDArray[np.float32]] = dataclasses.field(
        default_factory=dict
    )
    contrast: npt.NDArray[np.float32] | None = None


def write_explanation(found: Explanation, folder: Path) -> list[Path]:
    """Write an explanation into `RUN/explanations`; return the files, the document last."""
    paths = [folder / _TENSORS, folder / _TABLE, folder / DOCUMENT]
    tensors: dict[str, npt.NDArray[Any]] = {
        "maps": found.maps,
        "slice_weights": found.slice_weights,
        **{f"{_GROUP}{name}": values for name, values in found.groups.items()},
        **{f"{_PIXELS}{name}": values for name, values in found.pixel_attribution.items()},
    }
    if found.contrast is not None:
        tensors["contrast"] = found.contrast
    write_tensors(paths[0], tensors, schema=_MAPS_SCHEMA)
    atomic_write_text(paths[1], found.neighbours.to_csv(index=False, lineterminator="\n"))
    found.document.model_copy(update={"scan_ids": found.scan_ids}).write(paths[2])
    return paths


def read_explanation(folder: Path) -> Explanation:
    """Read what the stage `explain` wrote into `RUN/explanations`.

    Raises
    ------
    RunFolderError
        If a file is missing, of another version, or does not fit the others.
    StoreError
        If the file of arrays is damaged.
    """
    path = folder / DOCUMENT
    document = ExplanationDocument.read(path, stage="explain")
    scan_ids = document.scan_ids
    try:
        table = pd.read_csv(
            folder / _TABLE,
            dtype={"patient_id": str, "neighbour_id": str, "label": str},
            keep_default_na=False,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            "cannot read the explanation", where=str(folder), found=str(error), remedy=_REMEDY
        ) from error
    tensors = read_tensors(folder / _TENSORS, schema=_MAPS_SCHEMA)
    lengths = {len(scan_ids), len(tensors["maps"]), len(tensors["slice_weights"])}
    if len(lengths) != 1 or tuple(table.columns) != NEIGHBOUR_COLUMNS:
        raise RunFolderError(
            "the files of the explanation do not fit together", where=str(folder), remedy=_REMEDY
        )
    return Explanation(
        document=document,
        scan_ids=scan_ids,
        maps=tensors["maps"],
        slice_weights=tensors["slice_weights"],
        neighbours=table,
        groups=_named(tensors, _GROUP),
        pixel_attribution=_named(tensors, _PIXELS),
        contrast=tensors.get("contrast"),
    )


_REMEDY = "Run `mri-transfer explain` on this folder again"


def _named(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): values
        for name, values in tensors.items()
        if name.startswith(prefix)
    }
