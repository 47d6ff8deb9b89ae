"""The affine of a scan: position of its voxels in the patient, from the NIfTI header.

A header can have two affines, sform and qform. One is used if its code is above 0; if both are, the
sform is used, as aligning a scan to a template leaves a tilt, shift, shear or stretch between them.
If an axis points in different anatomical directions, one of the two is wrong, the file does not
tell which, and the scan is refused. A qform that is not a rotation is ignored if there is an sform.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import UnreadableScanError, UnsupportedScanError
from mri_transfer.scans.nifti_file import DAMAGED

__all__ = ["Affine", "affine_spacing_mm", "axis_codes", "read_affine", "times"]

#: Voxel index to RAS+ world, in mm; shape (4, 4).
Affine: TypeAlias = npt.NDArray[np.float64]

#: Volume spanned by three unit axes; 1 if they are perpendicular, 0 if they are coplanar.
_MIN_UNIT_VOLUME = 1e-3
#: Beyond this angle, an axis is nearer to another anatomical direction.
_MAX_FORM_ANGLE_DEG = 45.0
#: Largest scaling between a head and the template in an aligned scan.
_MAX_STRETCH = 1.5


def read_affine(nifti: Any, *, spacing_range_mm: tuple[float, float], where: str) -> Affine:
    """Return the scan's affine: the sform, or the qform if there is no sform.

    Parameters
    ----------
    nifti : nibabel.Nifti1Header or nibabel.Nifti2Header
    spacing_range_mm : tuple of float
        Smallest and largest accepted voxel size.
    where : str
        Name of the scan in messages.

    Raises
    ------
    UnsupportedScanError
        If both codes are 0, if the two forms contradict each other or the declared voxel sizes, if
        the affine is singular, or if the voxel sizes are implausible for a head scan.
    UnreadableScanError
        If there is only a qform, and it is not a rotation.
    """
    declared = tuple(float(size) for size in nifti["pixdim"][1:4])
    _check_sizes(declared, "declared", spacing_range_mm, where)
    with np.errstate(over="ignore", invalid="ignore"):
        # Overflow gives infinite sizes, which are refused.
        affine = _form(nifti, where)
        sizes = affine_spacing_mm(affine)
    _check_sizes(sizes, "by the affine", spacing_range_mm, where)
    ratios = np.divide(sizes, declared)
    if max(float(ratios.max()), 1 / float(ratios.min())) > _MAX_STRETCH:
        raise UnsupportedScanError(
            "the header contradicts itself about the voxel size",
            where=where,
            found=f"{times(declared)} mm declared, {times(sizes)} mm by the affine",
            expected=f"a factor of at most {_MAX_STRETCH:g} between them",
            remedy="Find out which is correct: the scan was probably resampled without updating "
            "its header",
        )
    return affine


def affine_spacing_mm(affine: Affine) -> tuple[float, float, float]:
    """Return the distance between neighbouring voxels along the three axes, in mm."""
    x_mm, y_mm, z_mm = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x_mm), float(y_mm), float(z_mm)


def axis_codes(affine: Affine) -> str:
    """Return the directions of the three axes, such as ``LAS``."""
    from nibabel import orientations

    codes: Any = orientations.aff2axcodes(affine)  # type: ignore[no-untyped-call]
    return "".join(codes)


def times(numbers: Iterable[float]) -> str:
    """Return extents as text: ``1 x 1 x 1.5``."""
    return " x ".join(f"{number:g}" for number in numbers)


def _form(nifti: Any, where: str) -> Affine:
    has_sform, has_qform = (int(nifti[code]) > 0 for code in ("sform_code", "qform_code"))
    if not has_sform and not has_qform:
        raise UnsupportedScanError(
            "the header does not define the orientation (sform and qform codes are 0)",
            where=where,
            expected="an sform or a qform",
            remedy="Convert the scan again from DICOM: the orientation cannot be guessed",
        )
    qform = _qform(nifti) if has_qform else None
    if has_sform:
        sform = _spanning(np.asarray(nifti.get_sform(), dtype=np.float64), where)
        if qform is not None:
            _check_agreement(sform, qform, where)
        return sform
    if qform is None:
        quaternion = [float(nifti[f"quatern_{part}"]) for part in "bcd"]
        raise UnreadableScanError(
            "the header's qform is not a rotation",
            where=where,
            found=f"quaternion {quaternion}",
            expected="three numbers whose squares sum to at most 1",
            remedy=DAMAGED,
        )
    return _spanning(qform, where)


def _qform(nifti: Any) -> Affine | None:
    """Return the qform, or None if it is not a rotation."""
    nifti = nifti.copy()
    # In the standard 0 means 1 here, and the reference library only uses the sign.
    nifti["pixdim"][0] = -1 if nifti["pixdim"][0] < 0 else 1
    try:
        qform = np.asarray(nifti.get_qform(), dtype=np.float64)
    except ValueError:
        return None
    return qform if np.isfinite(qform[:3, :3]).all() else None


def _spanning(affine: Affine, where: str) -> Affine:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # Axes are normalised first: the test must not depend on the voxel size.
    sound = bool(np.isfinite(affine).all()) and bool((lengths > 0).all())
    if not sound or abs(np.linalg.det(affine[:3, :3] / lengths)) < _MIN_UNIT_VOLUME:
        raise UnsupportedScanError(
            "the header's affine is singular",
            where=where,
            found=str(affine[:3].tolist()),
            expected="finite numbers and three linearly independent axes",
            remedy="Convert the scan again from its source",
        )
    return affine


def _check_agreement(sform: Affine, qform: Affine, where: str) -> None:
    s_axes, q_axes = (
        form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform)
    )
    cosine = float(np.clip((s_axes * q_axes).sum(axis=0), -1, 1).min())
    angle = math.degrees(math.acos(cosine))
    if angle > _MAX_FORM_ANGLE_DEG:
        raise UnsupportedScanError(
            "sform and qform disagree about the orientation",
            where=where,
            found=f"axes {axis_codes(sform)} by the sform, {axis_codes(qform)} by the qform, up "
            f"to {angle:.0f} degrees apart",
            expected=f"the same directions within {_MAX_FORM_ANGLE_DEG:g} degrees",
            remedy="Convert the scan again from DICOM, or find out which is wrong and set its code "
            "to 0",
        )


def _check_sizes(
    sizes: tuple[float, ...], source: str, range_mm: tuple[float, float], where: str
) -> None:
    low, high = range_mm
    if not all(low <= size <= high for size in sizes):
        raise UnsupportedScanError(
            "implausible voxel sizes for a head scan",
            where=where,
            found=f"{times(sizes)} mm {source}",
            expected=f"{low:g} to {high:g} mm",
            remedy="Check the header's voxel sizes and their unit (millimetres)",
        )
