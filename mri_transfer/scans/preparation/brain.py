"""Brain mask of a registered scan.

A scan without signal around the brain is already skull-stripped: its own outline is kept. In a
whole head a watershed (Hahn and Peitgen 2000, MICCAI, LNCS 1935:134-143) finds the dark boundary of
fluid and bone between brain and scalp. Its two markers come from the template: voxels that are
certainly brain, and voxels that are certainly not. An opening then removes dura, vessels and fluid
at the rim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.template import (
    affine_of_image,
    array_of_image,
    image_of_array,
    load_template,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = [
    "MASK_SPACING_MM",
    "brain_mask",
    "empty_share_around",
    "largest_part",
    "outline_of_stripped",
    "to_grid",
]

BoolArray = npt.NDArray[np.bool_]

#: Voxel size at which the mask is computed.
MASK_SPACING_MM = 2.0

#: Distance inside the template's outline that is certainly brain, and outside that is not.
_CERTAIN_MM, _BEYOND_MM = 12.0, 10.0
#: The shell around the brain that contains bone and scalp in a whole head.
_SHELL_MM = (5.0, 15.0)
#: Fraction of the brain's median signal below which a voxel at the rim is fluid or bone.
_DARK = 0.4
_SMOOTH_VOXELS = 0.5
#: A voxel is empty below this fraction of the scan's bright signal.
_EMPTY_SHARE, _BRIGHT_PERCENTILE = 0.02, 99.0


def empty_share_around(image: sitk.Image, covered: BoolArray) -> float:
    """Return the fraction of the shell around the brain without any signal.

    About 1 in a skull-stripped scan, clearly less in a whole head.

    Parameters
    ----------
    image : SimpleITK.Image
        The scan in template space.
    covered : ndarray of bool, shape (X, Y, Z)
        Voxels in the scan's field of view; others are ignored.
    """
    template = load_template()
    low, high = _SHELL_MM
    shell = template.mask_on(image, margin_mm=high) & ~template.mask_on(image, margin_mm=low)
    shell &= covered
    empty = ~_holds_signal(array_of_image(image))
    return float(empty[shell].mean()) if shell.any() else 0.0


def outline_of_stripped(image: sitk.Image) -> BoolArray:
    """Return the filled outline of a skull-stripped scan."""
    from scipy import ndimage

    outline: BoolArray = ndimage.binary_fill_holes(
        largest_part(_holds_signal(array_of_image(image)))
    )
    return outline


def _holds_signal(voxels: npt.NDArray[np.float32]) -> BoolArray:
    """Return the voxels above background, tolerating artefacts of lossy compression."""
    low, high = float(voxels.min()), float(np.percentile(voxels, _BRIGHT_PERCENTILE))
    holds: BoolArray = voxels > low + _EMPTY_SHARE * (high - low)
    return holds


def brain_mask(image: sitk.Image) -> BoolArray:
    """Find the brain in a whole head.

    Parameters
    ----------
    image : SimpleITK.Image, float32
        The bias-corrected head in template space, voxels of `MASK_SPACING_MM`.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
    """
    from scipy import ndimage
    from skimage.segmentation import watershed

    template = load_template()
    certain = template.mask_on(image, margin_mm=-_CERTAIN_MM)
    beyond = ~template.mask_on(image, margin_mm=_BEYOND_MM)
    signal = ndimage.gaussian_filter(array_of_image(image), _SMOOTH_VOXELS)
    median = float(np.median(signal[certain]))
    sources = certain.astype(np.int32) + 2 * beyond.astype(np.int32)
    # Signal is clipped at the median, so that bright fat and vessels are not ridges.
    flood: Any = watershed
    basin = flood(-np.minimum(signal, median), sources) == 1
    ball = ndimage.generate_binary_structure(3, 1)
    core = ndimage.binary_opening(basin & (signal > _DARK * median), ball, iterations=2)
    closed = ndimage.binary_closing(largest_part(core | certain), ball, iterations=4)
    mask: BoolArray = ndimage.binary_fill_holes(closed & basin)
    return mask


def largest_part(mask: BoolArray) -> BoolArray:
    """Return the largest connected component of a mask (face neighbours), if it is not empty."""
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest: BoolArray = parts == int(sizes.argmax())
    return largest


def to_grid(mask: BoolArray, image: sitk.Image, grid: sitk.Image) -> BoolArray:
    """Resample a mask from one image's grid to another's, with a smooth edge."""
    import SimpleITK as sitk

    soft = image_of_array(mask.astype(np.float32), affine_of_image(image))
    identity = sitk.Transform(3, sitk.sitkIdentity)
    fine = sitk.Resample(soft, grid, identity, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    inside: BoolArray = array_of_image(fine) > 0.5
    return inside
