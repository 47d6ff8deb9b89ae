"""Align an unregistered scan without skull, or a slab, to the template."""

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

#: Voxel size of the fit, and its initial step. A second fit at 2 mm took twice as long as all the
#: rest of a fingerprint and moved it by no more than noise does: of 10 slabs the fingerprints with
#: and without it correlate by .96 to .99, those of two people by .40 at most either way.
_FIT_MM, _STEP_MM = 4.0, 4.0
_ITERATIONS = 60
#: Number of voxels sampled in the fit.
_SAMPLES = 20_000


def place(volume: Volume, mask: npt.NDArray[np.bool_], *, turn: int | None = None) -> Matrix:
    """Align a scan without skull, or a slab of one, to the template's brain.

    The scan is made upright; then a similarity transform (translation, rotation, uniform scale)
    maximises its mutual information with the template. A slab does not constrain more: an affine
    transform would collapse it into one slice.

    Parameters
    ----------
    volume : Volume
    mask : ndarray of bool, shape (X, Y, Z)
        Brain mask.
    turn : int, optional
        Result of `turn_in_place`, if known.

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
        scan, brain = (
            to_spacing(image_of_array(array, volume.affine), _FIT_MM)
            for array in (volume.voxels, mask.astype(np.float32))
        )
        method = _fit(brain > 0.5)
        # The orientation is not fitted: 180 degrees is a singularity of the parameters.
        method.SetMovingInitialTransform(itk_affine(turned))
        method.SetInitialTransform(motion, inPlace=True)
        # If there is almost no signal, only the orientation is used.
        with contextlib.suppress(RuntimeError):
            method.Execute(scan, template_at(_FIT_MM))
        return np.asarray(np.linalg.inv(turned @ ras_matrix(motion)), dtype=np.float64)


def _fit(brain: sitk.Image) -> Any:
    import SimpleITK as sitk

    mask = sitk.BinaryDilate(brain, [1, 1, 1])
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(mask)
    share = _SAMPLES / max(1, int(sitk.GetArrayViewFromImage(mask).sum()))
    if share < 1:
        # Every n-th voxel; the seed is for the sub-voxel shift.
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(share, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(_STEP_MM, 1e-3, _ITERATIONS, 0.6, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _upright(volume: Volume, turn: int) -> Matrix:
    """Return scan position to template position, for a scan rotated about its centre."""
    height_mm = (volume.affine @ np.append((np.array(volume.voxels.shape) - 1) / 2, 1.0))[2]
    middle = np.array([-CENTRE_LPS_MM[0], -CENTRE_LPS_MM[1], height_mm])
    matrix = np.eye(4)
    matrix[:3, :3] = TURNS[turn].T
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle
    return matrix
