"""NIfTI files in template space: the same bytes for the same voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.files import atomic_write_bytes, gzip_bytes

__all__ = ["read_bits", "write_nifti"]


def write_nifti(path: Path, voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> None:
    """Write voxels (X, Y, Z) in template space as .nii.gz, the same bytes for the same voxels."""
    from nibabel.nifti1 import Nifti1Image

    make: Any = Nifti1Image
    image = make(voxels, affine)
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="mni")
    image.header.set_xyzt_units("mm")
    atomic_write_bytes(path, gzip_bytes(image.to_bytes()))


def read_bits(path: Path) -> npt.NDArray[np.uint8]:
    """Read the voxels (X, Y, Z) of a file of small integers written by `write_nifti`."""
    from nibabel.nifti1 import Nifti1Image

    load: Any = Nifti1Image.from_filename
    return np.asarray(load(str(path)).dataobj, dtype=np.uint8)
