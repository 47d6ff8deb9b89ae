"""Bias field: N4 (Tustison et al. 2010, IEEE Trans. Med. Imaging 29:1310-1320) at low resolution.

The field is smooth by definition: it is estimated at 4 mm inside the brain's outline and evaluated
on the finer grid (`benchmarks/preparation.py` compares it with N4 at full resolution).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.template import (
    affine_of_image,
    array_of_image,
    image_of_array,
    to_spacing,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["bias_field"]

_SPACING_MM = 4.0
#: Iterations per level; each level halves the distance of the field's control points.
_ITERATIONS = (40, 30, 20)
_CONVERGENCE = 1e-3


def bias_field(image: sitk.Image, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Estimate the multiplicative bias field of an image.

    Parameters
    ----------
    image : SimpleITK.Image, float32
    inside : ndarray of bool, shape (X, Y, Z)
        Voxels with tissue; others are ignored.

    Returns
    -------
    ndarray of float32, shape (X, Y, Z)
        Positive, with geometric mean 1 inside.
    """
    import SimpleITK as sitk

    affine = affine_of_image(image)
    small = to_spacing(image, _SPACING_MM)
    mask = to_spacing(image_of_array(inside.astype(np.float32), affine), _SPACING_MM) > 0.5
    # N4 works on the logarithm of the signal, so that voxels must be positive.
    mask = sitk.And(mask, small > 0)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(_ITERATIONS))
    n4.SetConvergenceThreshold(_CONVERGENCE)
    n4.Execute(small, mask)
    log_field = array_of_image(_interpolated(n4.GetLogBiasFieldAsImage(small), image))
    log_field -= float(log_field[inside].mean())
    field: npt.NDArray[np.float32] = np.exp(log_field).astype(np.float32)
    return field


def _interpolated(small: sitk.Image, reference: sitk.Image) -> sitk.Image:
    import SimpleITK as sitk

    identity = sitk.Transform(3, sitk.sitkIdentity)
    # The last argument: extrapolate with the nearest value.
    return sitk.Resample(small, reference, identity, sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)
