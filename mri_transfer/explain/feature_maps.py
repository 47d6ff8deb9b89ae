"""FeatureMaps: what a network makes of one slice, stage by stage, and its files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mri_transfer.core.documents import Count, Document, Part
from mri_transfer.core.tensorfile import read_tensors, write_tensors

__all__ = [
    "FEATURE_MAPS",
    "FeatureMaps",
    "FeatureMapsDocument",
    "StageMaps",
    "read_feature_maps",
    "write_feature_maps",
]

Pixels = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

#: The file that is written last: a folder that has it has the arrays too.
FEATURE_MAPS = "feature_maps.json"

_TENSORS = "feature_maps.safetensors"
_TENSORS_SCHEMA = "mri-transfer/feature-map-arrays/1"
_SCHEMA: Literal["mri-transfer/feature-maps/1"] = "mri-transfer/feature-maps/1"
#: Names of arrays in the file.
_SLICE, _STAGE, _UNTUNED, _FILTERS = "slice", "stage", "untuned", "filters"


class StageMaps(Part):
    """The maps of one stage that are shown."""

    name: str
    """The stage."""
    n_channels: Count
    """Channels that it has."""
    rows: Count
    columns: Count
    channels: tuple[Count, ...]
    """Those that are shown, the strongest inside the head first."""


class FeatureMapsDocument(Document):
    """Whose slice is shown, by which fold's network, and which channels."""

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/feature-maps/1"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this form."""
    scan_id: str
    patient_id: str
    label: str
    """Of the patient."""
    slice: Count
    """Position in the stack of slices."""
    z_mm: float
    """Height of the slice."""
    repeat: Count
    fold: Count
    """The fold that held the patient out."""
    tuned: bool
    """Whether the fold trained stages of its own."""
    stages: Annotated[tuple[StageMaps, ...], Field(min_length=1)]
    """In the network's order."""
    filters: tuple[Count, ...]
    """Channels of the first convolution that are shown, those that training changed most first;
    none where it changed none."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps:
    """What a network makes of one slice of a patient whom its fold held out.

    Attributes
    ----------
    document : FeatureMapsDocument
    slice : ndarray of uint8, shape (height, width)
    stages : tuple of ndarray of uint8, shape (n_shown, rows, columns)
        Of each stage of `document.stages`; each channel is scaled to its own smallest and largest
        value.
    untuned : ndarray of uint8, shape (n_shown, rows, columns), or None
        The same channels of the last stage before it was tuned, on the scale that they share with
        those after tuning; None where nothing was tuned.
    filters : ndarray of float32, shape (2, n_filters, rows, columns), or None
        Kernels of the first convolution on grey slices before and after tuning; None where they are
        the same.
    """

    document: FeatureMapsDocument
    slice: Pixels
    stages: tuple[Pixels, ...]
    untuned: Pixels | None = None
    filters: FloatArray | None = None


def write_feature_maps(found: FeatureMaps, folder: Path) -> list[Path]:
    """Write feature maps into `RUN/explanations`; return the files, the document last."""
    paths = [folder / _TENSORS, folder / FEATURE_MAPS]
    optional = {_UNTUNED: found.untuned, _FILTERS: found.filters}
    tensors = {
        _SLICE: found.slice,
        **{f"{_STAGE} {number}": maps for number, maps in enumerate(found.stages)},
        **{name: values for name, values in optional.items() if values is not None},
    }
    write_tensors(paths[0], tensors, schema=_TENSORS_SCHEMA)
    found.document.write(paths[1])
    return paths


def read_feature_maps(folder: Path) -> FeatureMaps:
    """Read what the stage `explain` wrote into `RUN/explanations`.

    Raises
    ------
    RunFolderError
        If the document is missing, of another version, or not of its form.
    StoreError
        If the file of arrays is missing or damaged.
    """
    document = FeatureMapsDocument.read(folder / FEATURE_MAPS, stage="explain")
    tensors = read_tensors(folder / _TENSORS, schema=_TENSORS_SCHEMA)
    return FeatureMaps(
        document=document,
        slice=tensors[_SLICE],
        stages=tuple(tensors[f"{_STAGE} {n}"] for n in range(len(document.stages))),
        untuned=tensors.get(_UNTUNED),
        filters=tensors.get(_FILTERS),
    )
