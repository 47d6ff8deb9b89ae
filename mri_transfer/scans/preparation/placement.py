"""Where the template lies in a scan without skull that was not registered, slabs included."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.passthrough import turn_in_place
from mri_transfer.scans.preparation.pose import TURNS
from mri_transfer.scans.preparation.registration import one_thread
from mri_transfer.scans.preparation.template import (
    CENTRE_LPS_MM,
    image_of_array,
    itk_affine,
    ras_matrix,
    template_at,
    to_spacing,
)
from mri_transfer.scans.volumes import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["place"]

Matrix = npt.NDArray[np.float64]

#: Voxel size of each fit, its first step in mm, and its most steps.
_FITS = ((4.0, 4.0, 60), (2.0, 1.0, 30))
#: Voxels that a fit looks at.
_SAMPLES = 20_000


def place(volume: Volume, mask: npt.NDArray[np.bool_], *, turn: int | None = None) -> Matrix:
    """Find where the template's brain lies in a scan without skull, or in a slab of one.

    The scan is turned upright, then moved, turned and scaled alike along all axes until its mutual
    information with the template is greatest. A slab cannot tell more than that: an affine
    transform squeezes it into one slice.

    Parameters
    ----------
    volume : Volume
    mask : ndarray of bool, shape (X, Y, Z)
        Brain on its voxels.
    turn : int, optional
        What `turn_in_place` says of it, if that is known.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        Template position to scan position, both RAS mm.
    """
    import SimpleITK as sitk

    with one_thread():
        turned = _upright(volume, turn_in_place(volume)[0] if turn is None else turn)
        motion = sitk.Similarity3DTransform()
        motion.SetCenter(CENTRE_LPS_MM)
        for spacing_mm, step_mm, iterations in _FITS:
            scan, brain = (
                to_spacing(image_of_array(array, volume.affine), spacing_mm)
                for array in (volume.voxels, mask.astype(np.float32))
            )
            method = _fit(brain > 0.5, step_mm=step_mm, iterations=iterations)
            # The turn is kept out of what is fitted: half a turn is a pole of the parameters.
            method.SetMovingInitialTransform(itk_affine(turned))
            method.SetInitialTransform(motion, inPlace=True)
            # Where there is next to nothing to see, the turn alone remains.
            with contextlib.suppress(RuntimeError):
                method.Execute(scan, template_at(spacing_mm))
        return np.asarray(np.linalg.inv(turned @ ras_matrix(motion)), dtype=np.float64)


def _fit(brain: sitk.Image, *, step_mm: float, iterations: int) -> Any:
    import SimpleITK as sitk

    mask = sitk.BinaryDilate(brain, [1, 1, 1])
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(mask)
    share = _SAMPLES / max(1, int(sitk.GetArrayViewFromImage(mask).sum()))
    if share < 1:
        # Every n-th voxel; the seed is for their shift within the voxel.
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(share, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(step_mm, 1e-3, iterations, 0.6, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _upright(volume: Volume, turn: int) -> Matrix:
    """Return scan position to template position for a scan turned in place, about its middle."""
    height_mm = (volume.affine @ np.append((np.array(volume.voxels.shape) - 1) / 2, 1.0))[2]
    middle = np.array([-CENTRE_LPS_MM[0], -CENTRE_LPS_MM[1], height_mm])
    matrix = np.eye(4)
    matrix[:3, :3] = TURNS[turn].T
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle
    return matrix
