"""Level a head's signal before registration, so that the brain dominates.

Scalp and fat can be three times as bright as the brain, and a surface coil brightens nearby tissue.
Without levelling, mutual information spends its bins on the scalp, and correlation places the
template wherever the signal is bright. The slow variation of the signal is divided out (a
homomorphic filter: the local mean of the logarithm; Brinkmann et al. 1998, IEEE Trans. Med. Imaging
17:161-171), and signal brighter than tissue deep inside the head is clipped to its level.

The result is only used for registration. The prepared volume is corrected by N4 afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.brain import largest_part
from mri_transfer.scans.preparation.template import (
    affine_of_image,
    array_of_image,
    image_of_array,
    to_spacing,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["LEVEL_SPACING_MM", "head_mask", "level"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Voxel size of the returned image, and those at which its levels are estimated.
LEVEL_SPACING_MM = 2.0
_FIELD_MM, _DEPTH_MM = 8.0, 4.0
#: Width of the local mean. Narrower ones flatten the brain itself.
_SIGMA_MM = 40.0
#: Tissue this deep under the skin is brain, neck or face, but not scalp or skull.
_DEEP_MM, _MIN_DEEP_MM3 = 20.0, 5e4
#: Approximate ratio of white matter to the deep tissue's median.
_WHITE_OVER_MEDIAN = 1.5
#: Range of signal used for the local mean, as fractions of that level.
_DARKEST, _BRIGHTEST = 0.15, 1.2


def level(image: sitk.Image) -> sitk.Image:
    """Return a head without slow signal variation, and with bright scalp clipped.

    Parameters
    ----------
    image : SimpleITK.Image, float32
        A head or a brain, with any voxel size.

    Returns
    -------
    SimpleITK.Image, float32
        With voxel size `LEVEL_SPACING_MM` and minimum 0.
    """
    import SimpleITK as sitk

    small = to_spacing(image, LEVEL_SPACING_MM)
    small = sitk.Subtract(small, float(sitk.GetArrayViewFromImage(small).min()))
    flat = sitk.Divide(small, _slow_variation(small))
    return sitk.Clamp(flat, upperBound=_bright_tissue(to_spacing(flat, _DEPTH_MM)))


def head_mask(image: sitk.Image) -> BoolArray:
    """Return the mask of the head: its largest component, filled.

    Parameters
    ----------
    image : SimpleITK.Image, float32
        With a dark background.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    signal = array_of_image(image)
    # Otsu's threshold separates bright tissue from the rest: half of it is above the noise in air.
    bright = float(np.percentile(signal, 99.5))
    otsu: Any = threshold_otsu
    room = 4
    head = np.pad(signal > 0.5 * float(otsu(np.minimum(signal, bright).ravel())), room)
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(head, iterations=2))
    mask: BoolArray = closed[room:-room, room:-room, room:-room]
    return largest_part(mask) if mask.any() else np.ones_like(mask)


def _slow_variation(image: sitk.Image) -> sitk.Image:
    """Return the slow variation of tissue signal, about 1, on an image's grid."""
    import SimpleITK as sitk
    from scipy import ndimage

    coarse = to_spacing(image, _FIELD_MM)
    signal = array_of_image(coarse)
    bright = _bright_tissue(coarse)
    tissue = head_mask(coarse) & (signal > _DARKEST * bright)
    if not tissue.any():
        return sitk.Add(sitk.Multiply(image, 0.0), 1.0)
    clipped = np.clip(signal, _DARKEST * bright, _BRIGHTEST * bright)
    log = np.where(tissue, np.log(clipped), 0.0)
    mean = float(log[tissue].mean())
    sigma = _SIGMA_MM / _FIELD_MM
    near = ndimage.gaussian_filter(tissue.astype(float), sigma)
    # Far from tissue, the mean over the head is used.
    far = 1e-3
    field = (ndimage.gaussian_filter(log, sigma) + far * mean) / (near + far) - mean
    slow = image_of_array(field.astype(np.float32), affine_of_image(coarse))
    identity = sitk.Transform(3, sitk.sitkIdentity)
    # The last argument: extrapolate with the nearest value.
    on_image = sitk.Resample(slow, image, identity, sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)
    return sitk.Exp(on_image)


def _bright_tissue(image: sitk.Image) -> float:
    """Return the approximate signal of white matter, from tissue deep under the skin."""
    from scipy import ndimage

    signal, head = array_of_image(image), head_mask(image)
    spacing = image.GetSpacing()
    # The head is assumed to continue beyond the field of view.
    depth = ndimage.distance_transform_edt(np.pad(head, 1, mode="edge"), sampling=spacing)
    depth_mm = np.asarray(depth)[1:-1, 1:-1, 1:-1]
    deep = depth_mm > _DEEP_MM
    if deep.sum() * np.prod(spacing) < _MIN_DEEP_MM3:
        deep = depth_mm > depth_mm.max() / 2
    median, bright = np.percentile(signal[deep], (50, 95))
    level = float(min(bright, _WHITE_OVER_MEDIAN * median))
    return level if level > 0 else max(float(signal.max()), float(np.finfo(np.float32).tiny))
