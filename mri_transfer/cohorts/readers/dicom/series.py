"""DicomSeries: the files of a series and their headers; identities never leave memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

__all__ = ["DicomSeries", "Identity", "SliceFile", "Technical", "stack_fault"]

Vector = tuple[float, ...]

#: Largest difference between two slices' axes (about 0.6 degrees), and largest in-plane shift
#: between slices.
_TILT = 1e-2
_SHIFT_MM = 0.5
#: Largest deviation of a slice distance from the median, as a fraction of it.
_UNEVEN = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """The patient of a series. These values are never written, shown or logged unhashed.

    Parameters
    ----------
    patient_key : str
        The patient's id; see `known_patient`.
    patient_id, study_uid, series_uid, birth_date, study_date, age, institution : str
        As in the header, empty if missing.
    sex : str or None
        F, M or None.
    known_patient : bool
        Whether the header has a patient id. Without one, the patient is identified by name and
        date of birth or, without these, by the study.
    """

    patient_key: str = dataclasses.field(repr=False)
    patient_id: str = dataclasses.field(repr=False)
    study_uid: str = dataclasses.field(repr=False)
    series_uid: str = dataclasses.field(repr=False)
    birth_date: str = dataclasses.field(repr=False)
    study_date: str = dataclasses.field(repr=False)
    age: str = dataclasses.field(repr=False)
    institution: str = dataclasses.field(repr=False)
    sex: str | None
    known_patient: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Technical:
    """Acquisition parameters of a series; None or empty where the header has none.

    Parameters
    ----------
    modality, sop_class : str
        As in the header.
    image_type, sequence : tuple of str
        ImageType and ScanningSequence in upper case.
    description : str
        SeriesDescription. Free text that may contain names: matched, but never shown.
    texts : str
        Description, protocol and sequence names together; never shown either.
    acquisition : str
        ``2D``, ``3D`` or empty.
    te_ms, ti_ms, thickness_mm : float or None
    contrast, angiography : bool
        Whether a contrast agent was given; whether the header marks it as angiography.
    rows, columns : int
    n_declared : int or None
        Number of images in the acquisition, according to the header.
    """

    modality: str
    sop_class: str
    image_type: tuple[str, ...]
    sequence: tuple[str, ...]
    description: str = dataclasses.field(repr=False)
    texts: str = dataclasses.field(repr=False)
    acquisition: str
    te_ms: float | None
    ti_ms: float | None
    thickness_mm: float | None
    contrast: bool
    angiography: bool
    rows: int
    columns: int
    n_declared: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceFile:
    """One file: one slice or, in the enhanced format, all of them.

    Parameters
    ----------
    path : Path
    uid : str
        SOPInstanceUID.
    positions_mm : tuple
        ImagePositionPatient of every frame (left, posterior, superior).
    orientations : tuple
        ImageOrientationPatient of every frame: direction of a row, then of a column.
    number : int or None
        InstanceNumber.
    truncated : bool
        Whether pixel data are missing at the end of the file.
    stamp : tuple of int
        Size in bytes and modification time in nanoseconds.
    """

    path: Path = dataclasses.field(repr=False)
    uid: str = dataclasses.field(repr=False)
    positions_mm: tuple[Vector, ...]
    orientations: tuple[Vector, ...]
    number: int | None
    truncated: bool
    stamp: tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DicomSeries:
    """The files of one series that share echo time and image type."""

    identity: Identity
    technical: Technical
    files: tuple[SliceFile, ...]
    alone: bool = True
    """Whether the series has no other echo or image type."""

    @property
    def n_slices(self) -> int:
        """Number of slices in all files."""
        return sum(max(1, len(file.positions_mm)) for file in self.files)


def stack_fault(series: DicomSeries) -> str | None:
    """Return a short reason why the slices are not a complete stack, or None.

    A complete stack has parallel, equidistant slices without duplicates and without gaps; missing
    slices at the ends are detected by the images' numbers.
    """
    if any(file.truncated for file in series.files):
        return "a file is truncated"
    positions = [position for file in series.files for position in file.positions_mm]
    orientations = [orientation for file in series.files for orientation in file.orientations]
    if len(positions) != series.n_slices or len(orientations) != series.n_slices:
        return "slices without a position"
    return _geometry_fault(np.array(positions), np.array(orientations)) or _count_fault(series)


def _geometry_fault(positions: np.ndarray, orientations: np.ndarray) -> str | None:
    normals = np.cross(orientations[:, :3], orientations[:, 3:])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    if not np.isfinite(positions).all() or not (np.abs(lengths - 1) < 1e-2).all():
        return "slices without a valid position"
    normals /= lengths
    if (np.abs(orientations - orientations[0]) > _TILT).any():
        return "slices are not parallel"
    heights = positions @ normals[0]
    order = np.argsort(heights)
    steps = np.diff(heights[order])
    if not steps.size:
        return "a single slice"
    step = float(np.median(steps))
    if step <= 0 or (steps < _UNEVEN * step).any():
        return "several images at one position"
    aside = positions - positions[order[0]] - np.outer(heights - heights[order[0]], normals[0])
    if (np.linalg.norm(aside, axis=1) > _SHIFT_MM).any():
        return "slices are shifted in-plane"
    if (np.abs(steps - step) > _UNEVEN * step).any():
        n_missing = int(np.maximum(np.round(steps / step) - 1, 0).sum())
        return _missing(n_missing) if n_missing else "unequal distances between slices"
    return None


def _count_fault(series: DicomSeries) -> str | None:
    """Compare the number of images with the header's declaration and the image numbers."""
    declared = series.technical.n_declared or 0
    numbers = {file.number for file in series.files if file.number is not None}
    if series.alone and len(numbers) == len(series.files) == series.n_slices:
        declared = max(declared, *numbers)
    return _missing(declared - series.n_slices) if declared > series.n_slices else None


def _missing(number: int) -> str:
    return "1 slice is missing" if number == 1 else f"{number} slices are missing"
