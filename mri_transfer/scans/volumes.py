"""Volume: a scan's voxels in RAS+, and checks of their intensities.

Axis 0 runs from the patient's left to right, axis 1 from posterior to anterior, axis 2 from
inferior to superior, whatever the orientation on disk.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import IntensityError, UnreadableScanError
from mri_transfer.scans.affine import affine_spacing_mm
from mri_transfer.scans.header import ScanHeader, VolumeSpec, check_header
from mri_transfer.scans.nifti_file import DAMAGED, open_scan, scan_faults

__all__ = ["ScanHeader", "Volume", "VolumeSpec", "check_header", "load_volume"]

_CHUNK_BYTES = 1 << 20
#: More trailing bytes mean that the header does not belong to the file's voxels.
_MAX_TRAILING_BYTES = 1 << 26
#: The most common value at a volume's border is its background if this fraction of voxels has it.
_BACKGROUND_SHARE = 0.2
#: Fraction of the other voxels that may be darker, by more than this fraction of the range, to
#: allow for interpolation ringing.
_ASIDE_SHARE, _AMID = 0.1, 0.05
#: Smaller values indicate integers read as floating point.
_MIN_PEAK = float(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """A scan in memory.

    Parameters
    ----------
    voxels : ndarray of shape (X, Y, Z), float32
        Finite values, axes in RAS+ order.
    affine : ndarray of shape (4, 4), float64
        Voxel index to world, in mm. Oblique scans stay oblique: axes are permuted and flipped, but
        voxels are not resampled.
    scan_id : str
    """

    voxels: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    scan_id: str

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along the three axes, in mm."""
        return affine_spacing_mm(self.affine)


def load_volume(path: str | Path, *, scan_id: str, spec: VolumeSpec | None = None) -> Volume:
    """Load a NIfTI-1 or NIfTI-2 scan in RAS+.

    The header is checked first (`check_header`), so that no file can make the program allocate
    more memory than the limits in `spec` allow. Scale factors and byte order are applied; the
    checksum of a compressed file is verified.

    Parameters
    ----------
    path : str or Path
        A .nii or .nii.gz file; 3-D, or 4-D with one frame.
    scan_id : str
        Names the scan in messages.
    spec : VolumeSpec, optional

    Returns
    -------
    Volume

    Raises
    ------
    UnreadableScanError, UnsupportedScanError
        See `check_header`; also if the voxels cannot be read.
    IntensityError
        If voxels are NaN or infinite, all zero, constant, binary (a mask), too small to be
        intensities, or if the background is not the darkest value (z-scores).
    """
    header = check_header(path, scan_id=scan_id, spec=spec)
    with scan_faults(header.where):
        voxels = _read_voxels(header)
        _check_intensities(voxels, header)
        _check_background(voxels, header)
        voxels, affine = _to_ras(voxels, header.affine)
    return Volume(voxels=voxels, affine=affine, scan_id=scan_id)


def _read_voxels(header: ScanHeader) -> npt.NDArray[np.float32]:
    """Return the scaled voxels as stored."""
    from nibabel import arrayproxy

    read: Any = arrayproxy.ArrayProxy
    with open_scan(header.path) as stream:
        # Without memory mapping: a file that shrinks while mapped would kill the process.
        proxy = read(stream, header.nifti, mmap=False)
        with np.errstate(over="ignore", invalid="ignore"):
            # A scale factor can exceed float32; this gives infinities, which are refused.
            voxels = np.asarray(proxy, dtype=np.float32)
        _read_to_end(stream, header)
    return voxels.reshape(header.shape)


def _read_to_end(stream: BinaryIO, header: ScanHeader) -> None:
    """Read to the end, as the checksum of a gzip file is only verified there."""
    trailing = 0
    while chunk := stream.read(_CHUNK_BYTES):
        trailing += len(chunk)
        if trailing > _MAX_TRAILING_BYTES:
            raise UnreadableScanError(
                "the file is much longer than its header declares",
                where=header.where,
                found=f"more than {_MAX_TRAILING_BYTES >> 20} MiB after the voxels",
                remedy=DAMAGED,
            )


def _check_intensities(voxels: npt.NDArray[np.float32], header: ScanHeader) -> None:
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite((low, high)).all():
        count = int(np.size(voxels) - np.isfinite(voxels).sum())
        raise IntensityError(
            "voxels are not finite numbers",
            where=header.where,
            found=f"{count} of {voxels.size} are NaN or infinite",
            remedy="Replace them, for example by 0 outside the head, and save the scan again",
        )
    if low == high:
        raise IntensityError(
            "the volume is empty: all voxels are zero" if low == 0 else "the volume is constant",
            where=header.where,
            found=f"{low:g} everywhere",
            remedy="Inspect the scan and export it again",
        )
    if max(-low, high) < _MIN_PEAK:
        raise IntensityError(
            "voxels are too small to be intensities",
            where=header.where,
            found=f"at most {max(-low, high):g}",
            remedy="Convert the scan again: its header probably declares integer voxels as "
            "floating point",
        )
    if np.count_nonzero(voxels == low) + np.count_nonzero(voxels == high) == voxels.size:
        raise IntensityError(
            "the volume has only two values: a mask, not an image",
            where=header.where,
            found=f"{low:g} and {high:g}",
            remedy="Use the scan that the mask belongs to",
        )


def _check_background(voxels: npt.NDArray[np.float32], header: ScanHeader) -> None:
    """Refuse a brain whose constant background is not darker than tissue."""
    faces = [np.take(voxels, at, axis).ravel() for axis in range(3) for at in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    background = values[counts.argmax()]
    share = np.count_nonzero(voxels == background) / voxels.size
    low, high = float(voxels.min()), float(voxels.max())
    margin, needed = _AMID * (high - low), _ASIDE_SHARE * (1 - share)
    darker = np.count_nonzero(voxels < background - margin) / voxels.size
    brighter = np.count_nonzero(voxels > background + margin) / voxels.size
    if share >= _BACKGROUND_SHARE and min(darker, brighter) > needed:
        raise IntensityError(
            "the background is not the darkest value, as after z-scoring inside the brain",
            where=header.where,
            found=f"{background:g} in {share:.0%} of the volume, tissue from {low:g} to {high:g}",
            expected="tissue brighter than the background",
            remedy="Use the scan before intensity standardisation, or add a constant inside the "
            "brain so that its darkest voxel is above the background",
        )


def _to_ras(
    voxels: npt.NDArray[np.float32], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Permute and flip axes to RAS+."""
    from monai.data import meta_tensor
    from monai.transforms import Orientation  # type: ignore[attr-defined]

    wrap: Any = meta_tensor.MetaTensor
    # Labels are explicit, as their default differs between MONAI versions.
    to_ras: Any = Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))
    image = to_ras(wrap(voxels[np.newaxis], affine=affine))
    return (
        np.ascontiguousarray(image[0].numpy(), dtype=np.float32),
        np.asarray(image.affine.numpy(), dtype=np.float64),
    )
