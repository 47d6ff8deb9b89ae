"""Convert the volumes of OASIS-1 to NIfTI, adding the orientation that their headers lack.

Analyze 7.5 headers do not define the direction of the axes, and those of the raw volumes are
wrong. The axes of the distributed files are known: in Talairach space (Marcus et al. 2007,
doi:10.1162/jocn.2007.19.9.1498) left-right, posterior to anterior and inferior to superior; which
end of the first axis is left is not recorded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.cohorts.readers.oasis1.discs import Oasis1Volume, SessionKey, VolumePair
from mri_transfer.core.files import (
    atomic_write_bytes,
    gzip_bytes,
    read_json_object,
    sha256_of_file,
    write_json,
)
from mri_transfer.errors import ScanError, UnreadableScanError, UnsupportedScanError

__all__ = ["GRID_VOXELS", "Converted", "convert_volume", "image_path"]

_SCHEMA = "mri-transfer/oasis1/1"  # increment when the same files would give another image

#: Voxels of a volume in Talairach space, of 1 mm each.
GRID_VOXELS = (176, 208, 176)
_COMMISSURE_VOXEL = (85, 110, 73)
#: Voxel index to world, in mm. The anterior commissure is the origin of Talairach space.
_T88_AFFINE = np.eye(4) - np.pad(np.transpose([_COMMISSURE_VOXEL]), ((0, 1), (3, 0)))
_RAW_AFFINE = np.array(
    [[0.0, 0, -1, 80], [1, 0, 0, -128], [0, 1, 0, -128], [0, 0, 0, 1]], dtype=np.float64
)

_HEADER_BYTES = 348
_MAX_VOXELS = 512**3
_MAX_OFFSET_BYTES = 1 << 26
_NIFTI_SIGNATURES = (b"ni1", b"n+1")
_DAMAGED = "Copy the session again from the disc"
_NAMES = {"t88_masked": "_space-Talairach_desc-brain", "t88": "_space-Talairach", "raw": ""}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Converted:
    """A converted image.

    Parameters
    ----------
    path : Path
    shape : tuple of int
    is_new : bool
        Whether this call wrote it, rather than an earlier one.
    """

    path: Path
    shape: tuple[int, int, int]
    is_new: bool


def image_path(key: SessionKey, volume: Oasis1Volume) -> Path:
    """Return the path of a session's image in the image folder, named as in BIDS."""
    patient, session = f"sub-{key[0].replace('_', '')}", f"ses-{key[1]}"
    return Path(patient, session, "anat", f"{patient}_{session}{_NAMES[volume]}_T1w.nii.gz")


def convert_volume(pair: VolumePair, path: Path, *, volume: Oasis1Volume, root: Path) -> Converted:
    """Write a volume as NIfTI, with a JSON sidecar that records its sources.

    Voxel values and integer type are preserved, and the same files give the same bytes. An image
    with the same recorded sources and content is not rewritten.

    Parameters
    ----------
    pair : VolumePair
    path : Path
        The image to write, ending in .nii.gz.
    volume : {"t88_masked", "t88", "raw"}
    root : Path
        The folder that recorded source paths are relative to.

    Raises
    ------
    UnreadableScanError
        If a file is missing, damaged or truncated.
    UnsupportedScanError
        If it is not a 3-D image in Analyze format.
    OSError
        If the image cannot be written.
    """
    if pair.problem is not None or pair.header is None or pair.voxels is None:
        raise UnreadableScanError(pair.problem or "a file is missing")
    try:
        sources = (pair.header, pair.voxels)
        record: dict[str, Any] = {
            "Schema": _SCHEMA,
            "Volume": volume,
            "SkullStripped": volume == "t88_masked",
            "Sources": [source.relative_to(root).as_posix() for source in sources],
            "SourcesSha256": [sha256_of_file(source) for source in sources],
        }
        header = _read_header(pair.header)
        shape = _shape(header)
        if _is_current(path, record):
            return Converted(path=path, shape=shape, is_new=False)
        data = _nifti_bytes(_read_voxels(pair.voxels, header, shape), volume)
    except (ScanError, ImportError):
        raise
    except OSError as error:
        raise UnreadableScanError("a file cannot be read", found=str(error)) from error
    atomic_write_bytes(path, data)
    write_json(_record_path(path), record | {"Sha256": sha256_of_file(path)})
    return Converted(path=path, shape=shape, is_new=True)


def _record_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _is_current(path: Path, record: dict[str, Any]) -> bool:
    with contextlib.suppress(OSError):
        return read_json_object(_record_path(path)) == record | {"Sha256": sha256_of_file(path)}
    return False


def _read_header(path: Path) -> Any:
    import nibabel as nib

    with path.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    if len(start) < _HEADER_BYTES:
        raise UnreadableScanError(
            f"the header {path.name} is truncated",
            found=f"{len(start)} bytes",
            expected=f"{_HEADER_BYTES}",
            remedy=_DAMAGED,
        )
    if start[344:347] in _NIFTI_SIGNATURES:
        raise UnsupportedScanError(
            f"{path.name} is a NIfTI header, not the Analyze header of the discs",
            remedy="Read the discs as distributed, or use the NIfTI images directly",
        )
    # nibabel's checks are off: they log, and silently repair suspicious values.
    kind: Any = nib.AnalyzeHeader
    header = kind(start, check=False)
    if int(header["sizeof_hdr"]) != _HEADER_BYTES:
        raise UnreadableScanError(f"{path.name} is not an Analyze header", remedy=_DAMAGED)
    return header


def _shape(header: Any) -> tuple[int, int, int]:
    n_axes, *extents = (int(extent) for extent in header["dim"])
    shape = extents[:n_axes]
    is_volume = 3 <= n_axes <= 7 and min(shape) >= 1 and math.prod(shape[3:]) == 1
    if not is_volume or math.prod(shape) > _MAX_VOXELS:
        raise UnsupportedScanError(
            "the header does not declare one 3-D volume of plausible size",
            found=" x ".join(map(str, shape)) or str(n_axes),
            expected="about 176 x 208 x 176",
            remedy=_DAMAGED,
        )
    x, y, z = shape[:3]
    return x, y, z


def _read_voxels(path: Path, header: Any, shape: tuple[int, int, int]) -> npt.NDArray[Any]:
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except Exception as error:
        raise UnreadableScanError(
            "unknown voxel type", found=f"code {int(header['datatype'])}", remedy=_DAMAGED
        ) from error
    if dtype.kind not in "iuf":
        raise UnsupportedScanError("voxels are not real scalars", found=str(dtype))
    offset = float(header["vox_offset"])
    needed = math.prod(shape) * dtype.itemsize
    if not (0 <= offset <= _MAX_OFFSET_BYTES and offset.is_integer()):
        raise UnreadableScanError(
            "the header declares an impossible voxel offset",
            found=f"byte {offset:g}",
            remedy=_DAMAGED,
        )
    n_bytes = os.stat(path).st_size
    if n_bytes < offset + needed:
        raise UnreadableScanError(
            f"the voxels in {path.name} are truncated",
            found=f"{n_bytes} bytes",
            expected=f"{int(offset) + needed}",
            remedy=_DAMAGED,
        )
    with path.open("rb") as stream:
        stream.seek(int(offset))
        voxels = np.frombuffer(stream.read(needed), dtype=dtype)
    return voxels.reshape(shape, order="F")


def _nifti_bytes(voxels: npt.NDArray[Any], volume: Oasis1Volume) -> bytes:
    import nibabel as nib

    affine, code = (_RAW_AFFINE, "aligned") if volume == "raw" else (_T88_AFFINE, "talairach")
    stored = voxels.astype(voxels.dtype.newbyteorder("<"))
    image: Any = nib.Nifti1Image(stored, affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")
    for set_affine in (image.set_sform, image.set_qform):
        set_affine(affine, code=code)
    return gzip_bytes(image.to_bytes())
