"""Validation of a NIfTI header, before any voxel is read."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.errors import UnreadableScanError, UnsupportedScanError
from mri_transfer.scans.affine import Affine, affine_spacing_mm, axis_codes, read_affine, times
from mri_transfer.scans.nifti_file import (
    DAMAGED,
    file_size,
    is_named_gzip,
    read_header,
    scan_faults,
    scan_place,
)

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

__all__ = ["ScanHeader", "VolumeSpec", "check_header"]

#: Largest compression ratio of deflate.
_MAX_GZIP_RATIO = 1032
_MAX_OFFSET_BYTES = 1 << 26


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VolumeSpec:
    """Limits for accepted volumes; they do not change voxels."""

    max_voxels: int = Field(default=512**3, gt=0)
    """Largest number of voxels."""
    max_megabytes: int = Field(default=1000, gt=0)
    """Largest size of the stored voxels, uncompressed (10^6 bytes)."""
    min_axis_voxels: int = Field(default=16, ge=1)
    """Smallest number of voxels along any axis; a slab of 32 slices passes."""
    min_spacing_mm: float = Field(default=0.05, gt=0)
    """Smallest voxel size; smaller values indicate a wrong unit in the header."""
    max_spacing_mm: float = Field(default=10.0, gt=0)
    """Largest voxel size."""


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
        Type of the stored voxels, including byte order.
    affine : ndarray of shape (4, 4), float64
        Stored voxel index to RAS+ world, in mm.
    spacing_mm : tuple of float
        Voxel size along the three axes as stored.
    orientation : str
        Directions of the stored axes, such as ``LAS``.
    nifti : nibabel.Nifti1Header
        The header itself, NIfTI-1 or NIfTI-2.
    """

    scan_id: str
    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    affine: Affine
    spacing_mm: tuple[float, float, float]
    orientation: str
    nifti: Nifti1Header

    @property
    def where(self) -> str:
        """The scan's name in messages."""
        return scan_place(self.scan_id, self.path)


def check_header(path: str | Path, *, scan_id: str, spec: VolumeSpec | None = None) -> ScanHeader:
    """Read a scan's header, and refuse all but 3-D images of plausible size and known orientation.

    Only a few hundred bytes are read, whatever the header declares.

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
        If the file is missing, unreadable, truncated or not NIfTI.
    UnsupportedScanError
        If it is NIfTI, but not a 3-D greyscale image of known orientation within the limits.
    """
    path, spec = Path(path), spec or VolumeSpec()
    where = scan_place(scan_id, path)
    with scan_faults(where):
        file_bytes = file_size(path, where=where)
        nifti = read_header(path, where=where)
        shape = _spatial_shape(nifti, spec, where)
        dtype = _voxel_type(nifti, where)
        needed = _bytes_needed(nifti, math.prod(shape) * dtype.itemsize, spec, where)
        _check_length(needed, file_bytes, compressed=is_named_gzip(path), where=where)
        _check_scale(nifti, where)
        spacing_range_mm = (spec.min_spacing_mm, spec.max_spacing_mm)
        affine = read_affine(nifti, spacing_range_mm=spacing_range_mm, where=where)
        return ScanHeader(
            scan_id=scan_id,
            path=path,
            shape=shape,
            dtype=dtype,
            affine=affine,
            spacing_mm=affine_spacing_mm(affine),
            orientation=axis_codes(affine),
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
            "a 2-D image, not a volume" if n_axes < 3 else "more than one volume in the file",
            where=where,
            found=times(shape),
            expected="three axes, or a fourth of length 1",
            remedy="Use the whole 3-D scan"
            if n_axes < 3
            else "Select or average the volumes and save a 3-D file",
        )
    x, y, z = shape[:3]
    if x * y * z > spec.max_voxels:
        raise UnsupportedScanError(
            "the header declares too many voxels",
            where=where,
            found=times(shape),
            expected=f"at most {spec.max_voxels}",
            remedy="Check the header; if it is correct, resample the scan",
        )
    if min(x, y, z) < spec.min_axis_voxels:
        raise UnsupportedScanError(
            "too few voxels along an axis",
            where=where,
            found=times(shape),
            expected=f"at least {spec.min_axis_voxels}",
            remedy="Use the whole 3-D scan",
        )
    return x, y, z


def _voxel_type(nifti: Any, where: str) -> np.dtype[Any]:
    from nibabel import nifti1

    code, bits = int(nifti["datatype"]), int(nifti["bitpix"])
    if code not in nifti1.data_type_codes:
        raise UnreadableScanError(
            "unknown voxel type", where=where, found=f"code {code}", remedy=DAMAGED
        )
    dtype: np.dtype[Any] = nifti.get_data_dtype()
    name = nifti1.data_type_codes.label[code]
    if dtype.kind not in "iuf":
        raise UnsupportedScanError(
            "voxels are not real scalars",
            where=where,
            found=f"{name} (code {code})",
            expected="integers or floating point of up to 64 bits",
            remedy="Use the greyscale scan, not a rendering, a bit mask or a phase image",
        )
    if bits not in (0, 8 * dtype.itemsize):
        raise UnreadableScanError(
            "the header contradicts itself about the voxel type",
            where=where,
            found=f"{name}, but {bits} bits per voxel",
            expected=f"{8 * dtype.itemsize} bits",
            remedy=DAMAGED,
        )
    return dtype


def _bytes_needed(nifti: Any, voxel_bytes: int, spec: VolumeSpec, where: str) -> int:
    """Return the size in bytes that the uncompressed file must have, if it is plausible."""
    offset = float(nifti["vox_offset"])
    first = int(nifti["sizeof_hdr"]) + 4
    if not first <= offset <= _MAX_OFFSET_BYTES or not offset.is_integer():
        raise UnreadableScanError(
            "the header declares an impossible voxel offset",
            where=where,
            found=f"byte {offset:g}",
            expected=f"byte {first} or shortly after",
            remedy=DAMAGED,
        )
    if voxel_bytes > spec.max_megabytes * 10**6:
        raise UnsupportedScanError(
            "the header declares too much data",
            where=where,
            found=f"{voxel_bytes / 1e6:.0f} MB",
            expected=f"at most {spec.max_megabytes} MB",
            remedy="Check the header; if it is correct, resample the scan",
        )
    return int(offset) + voxel_bytes


def _check_length(needed: int, file_bytes: int, *, compressed: bool, where: str) -> None:
    if file_bytes * (_MAX_GZIP_RATIO if compressed else 1) < needed:
        raise UnreadableScanError(
            "the file is shorter than its header declares",
            where=where,
            found=f"{file_bytes} bytes" + (", compressed" if compressed else ""),
            expected=f"{needed} bytes" + (", uncompressed" if compressed else ""),
            remedy=DAMAGED,
        )


def _check_scale(nifti: Any, where: str) -> None:
    slope, intercept = float(nifti["scl_slope"]), float(nifti["scl_inter"])
    # A slope of 0 or NaN means no scaling; the intercept is then ignored.
    if math.isnan(slope) or slope == 0 or math.isfinite(slope + intercept):
        return
    raise UnreadableScanError(
        "the header's scale factors are not numbers",
        where=where,
        found=f"slope {slope:g}, intercept {intercept:g}",
        expected="finite numbers, or slope 0 for none",
        remedy=DAMAGED,
    )
