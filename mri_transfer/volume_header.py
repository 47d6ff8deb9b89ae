"""What a NIfTI header says, judged before a single voxel is read."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.errors import UnreadableScanError, UnsupportedScanError
from mri_transfer.scan_file import DAMAGED, file_size, is_named_gzip, read_header, scan_faults
from mri_transfer.specs import STRICT

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

__all__ = ["ScanHeader", "VolumeSpec", "check_header"]

#: Deflate cannot shrink anything further than this.
_MAX_GZIP_RATIO = 1032
_MAX_OFFSET_BYTES = 1 << 26
#: Volume of the box that three unit axes span; 1 if they are perpendicular, 0 if they are flat.
_MIN_UNIT_VOLUME = 1e-3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VolumeSpec:
    """Which volumes are accepted; nothing here changes a voxel."""

    max_voxels: int = Field(default=512**3, gt=0)
    """Largest number of voxels."""
    max_megabytes: int = Field(default=1000, gt=0)
    """Largest size of the voxels as stored, uncompressed (10^6 bytes)."""
    min_axis_voxels: int = Field(default=16, ge=1)
    """Fewest voxels along any axis; a slab of 32 slices passes."""
    min_spacing_mm: float = Field(default=0.05, gt=0)
    """Smallest distance of voxels; less means a header in the wrong unit."""
    max_spacing_mm: float = Field(default=10.0, gt=0)
    """Largest distance of voxels."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScanHeader:
    """An accepted header.

    Parameters
    ----------
    scan_id : str
    path : Path
    shape : tuple of int
        Voxels along the three axes as stored.
    dtype : numpy.dtype
        Type of a voxel as stored, byte order included.
    affine : ndarray of shape (4, 4), float64
        Stored voxel index to RAS+ world, in mm.
    spacing_mm : tuple of float
        Distance of voxels along the three axes as stored.
    orientation : str
        Where the stored axes point, such as ``LAS``.
    nifti : nibabel.Nifti1Header
        The header itself, NIfTI-1 or NIfTI-2.
    """

    scan_id: str
    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    affine: npt.NDArray[np.float64]
    spacing_mm: tuple[float, float, float]
    orientation: str
    nifti: Nifti1Header

    @property
    def where(self) -> str:
        """How messages name the scan."""
        return f"scan {self.scan_id} ({self.path})"


def check_header(path: str | Path, *, scan_id: str, spec: VolumeSpec | None = None) -> ScanHeader:
    """Read a scan's header and refuse what is not a 3-D image of sane size and known orientation.

    Reads a few hundred bytes, whatever the header declares.

    Parameters
    ----------
    path : str or Path
        A .nii or .nii.gz file.
    scan_id : str
        Names the scan in messages.
    spec : VolumeSpec, optional

    Raises
    ------
    UnreadableScanError
        If the file is missing, may not be read, is cut short or is not NIfTI.
    UnsupportedScanError
        If it is NIfTI, but not a 3-D grey image with known orientation within the limits.
    """
    path, spec = Path(path), spec or VolumeSpec()
    where = f"scan {scan_id} ({path})"
    with scan_faults(where):
        file_bytes = file_size(path, where=where)
        nifti = read_header(path, where=where)
        shape = _spatial_shape(nifti, spec, where)
        dtype = _voxel_type(nifti, where)
        needed = _bytes_needed(nifti, math.prod(shape) * dtype.itemsize, spec, where)
        _check_length(needed, file_bytes, compressed=is_named_gzip(path), where=where)
        affine = _affine(nifti, where)
        return ScanHeader(
            scan_id=scan_id,
            path=path,
            shape=shape,
            dtype=dtype,
            affine=affine,
            spacing_mm=_spacing_mm(nifti, affine, spec, where),
            orientation=_orientation(affine),
            nifti=nifti,
        )


def _spatial_shape(nifti: Any, spec: VolumeSpec, where: str) -> tuple[int, int, int]:
    n_axes, *extents = (int(extent) for extent in nifti["dim"])
    shape = extents[:n_axes]
    if not 1 <= n_axes <= 7 or min(shape) < 1:
        raise UnreadableScanError(
            "the header declares impossible dimensions",
            where=where,
            found=str([n_axes, *extents]),
            remedy=DAMAGED,
        )
    if n_axes < 3 or math.prod(shape[3:]) != 1:
        raise UnsupportedScanError(
            "a picture, not a volume" if n_axes < 3 else "more than one volume in the file",
            where=where,
            found=_times(shape),
            expected="three axes, or a fourth of length 1",
            remedy="Use the whole 3-D scan"
            if n_axes < 3
            else "Choose or average the volumes and save a 3-D file",
        )
    x, y, z = shape[:3]
    if x * y * z > spec.max_voxels:
        raise UnsupportedScanError(
            "the header declares more voxels than are accepted",
            where=where,
            found=_times(shape),
            expected=f"at most {spec.max_voxels}",
            remedy="Check that the header is right; if it is, resample the scan",
        )
    if min(x, y, z) < spec.min_axis_voxels:
        raise UnsupportedScanError(
            "too few voxels along an axis",
            where=where,
            found=_times(shape),
            expected=f"at least {spec.min_axis_voxels}",
            remedy="Use the whole 3-D scan",
        )
    return x, y, z


def _times(numbers: Any) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def _voxel_type(nifti: Any, where: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = nifti.get_data_dtype()
    except Exception as error:
        raise UnreadableScanError(
            "unknown voxel type",
            where=where,
            found=f"code {int(nifti['datatype'])}",
            remedy=DAMAGED,
        ) from error
    if dtype.kind not in "iuf":
        raise UnsupportedScanError(
            "voxels are not single real numbers (colour or complex)",
            where=where,
            found=str(dtype),
            expected="integers or floating point",
            remedy="Use the grey-value scan, not a rendering or a phase image",
        )
    return dtype


def _bytes_needed(nifti: Any, voxel_bytes: int, spec: VolumeSpec, where: str) -> int:
    """Return how many unpacked bytes the file must have, if that is a sane number."""
    offset = float(nifti["vox_offset"])
    first = int(nifti["sizeof_hdr"]) + 4
    if not first <= offset <= _MAX_OFFSET_BYTES or not offset.is_integer():
        raise UnreadableScanError(
            "the header says that voxels begin at an impossible place",
            where=where,
            found=f"byte {offset:g}",
            expected=f"byte {first} or a little later",
            remedy=DAMAGED,
        )
    if voxel_bytes > spec.max_megabytes * 10**6:
        raise UnsupportedScanError(
            "the header declares more data than is accepted",
            where=where,
            found=f"{voxel_bytes / 1e6:.0f} MB",
            expected=f"at most {spec.max_megabytes} MB",
            remedy="Check that the header is right; if it is, resample the scan",
        )
    return int(offset) + voxel_bytes


def _check_length(needed: int, file_bytes: int, *, compressed: bool, where: str) -> None:
    if file_bytes * (_MAX_GZIP_RATIO if compressed else 1) < needed:
        raise UnreadableScanError(
            "the file is shorter than its header declares",
            where=where,
            found=f"{file_bytes} bytes" + (", compressed" if compressed else ""),
            expected=f"{needed} bytes" + (", unpacked" if compressed else ""),
            remedy=DAMAGED,
        )


def _affine(nifti: Any, where: str) -> npt.NDArray[np.float64]:
    if int(nifti["sform_code"]) <= 0 and int(nifti["qform_code"]) <= 0:
        raise UnsupportedScanError(
            "the header does not say how the patient lay (sform and qform codes are 0)",
            where=where,
            expected="an sform or a qform",
            remedy="Convert the scan again from DICOM: left, right, top and bottom cannot be "
            "guessed",
        )
    affine = np.asarray(nifti.get_best_affine(), dtype=np.float64)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # Axes are scaled to length 1 first: the test must not depend on the voxel's size.
    sound = bool(np.isfinite(affine).all()) and bool((lengths > 0).all())
    if not sound or abs(np.linalg.det(affine[:3, :3] / lengths)) < _MIN_UNIT_VOLUME:
        raise UnsupportedScanError(
            "the header's affine does not span three directions",
            where=where,
            found=str(affine[:3].tolist()),
            remedy="Convert the scan again from its source",
        )
    return affine


def _spacing_mm(
    nifti: Any, affine: npt.NDArray[np.float64], spec: VolumeSpec, where: str
) -> tuple[float, float, float]:
    declared = [float(size) for size in nifti["pixdim"][1:4]]
    x, y, z = (float(size) for size in np.linalg.norm(affine[:3, :3], axis=0))
    low, high = spec.min_spacing_mm, spec.max_spacing_mm
    if not all(low <= size <= high for size in (*declared, x, y, z)):
        raise UnsupportedScanError(
            "voxel sizes that no head scan has",
            where=where,
            found=f"{_times(declared)} mm declared, {_times((x, y, z))} mm by the affine",
            expected=f"{low:g} to {high:g} mm",
            remedy="Check the header's voxel sizes and their unit (millimetres)",
        )
    return x, y, z


def _orientation(affine: npt.NDArray[np.float64]) -> str:
    from nibabel import orientations

    codes: Any = orientations.aff2axcodes(affine)  # type: ignore[no-untyped-call]
    return "".join(codes)
