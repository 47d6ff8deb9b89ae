"""Brain mask: which voxels of a registered scan are brain.

A scan whose surroundings are empty has been stripped of its skull already: its own outline is
kept. In a whole head the valley of dark fluid and bone between brain and scalp is found by a
watershed (Hahn and Peitgen 2000, MICCAI, LNCS 1935:134-143) whose two sources are given by the
template: what certainly is brain, and what certainly is not. Dura, vessels and the rim of fluid
that cling to the brain are then taken off by an opening.
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

#: Voxel size at which the mask is found.
MASK_SPACING_MM = 2.0

#: Depth below the template's outline that certainly is brain, and height above it that is not.
_CERTAIN_MM, _BEYOND_MM = 12.0, 10.0
#: The shell around the brain that holds bone and scalp in a whole head.
_SHELL_MM = (5.0, 15.0)
#: Signal, as a share of the brain's median, below which a voxel at the rim is fluid or bone.
_DARK = 0.4
_SMOOTH_VOXELS = 0.5
#: A voxel is empty below this share of the scan's bright signal.
_EMPTY_SHARE, _BRIGHT_PERCENTILE = 0.02, 99.0


def empty_share_around(image: sitk.Image, covered: BoolArray) -> float:
    """Return which share of the shell around the brain holds no signal at all.

    About 1 in a scan that was stripped of its skull, clearly less in a whole head.

    Parameters
    ----------
    image : SimpleITK.Image
        The scan in template space.
    covered : ndarray of bool, shape (X, Y, Z)
        Voxels that the scan covers; those outside its field of view say nothing.
    """
    template = load_template()
    low, high = _SHELL_MM
    shell = template.mask_on(image, margin_mm=high) & ~template.mask_on(image, margin_mm=low)
    shell &= covered
    empty = ~_holds_signal(array_of_image(image))
    return float(empty[shell].mean()) if shell.any() else 0.0


def outline_of_stripped(image: sitk.Image) -> BoolArray:
    """Return the filled outline of what a stripped scan holds."""
    from scipy import ndimage

    outline: BoolArray = ndimage.binary_fill_holes(
        largest_part(_holds_signal(array_of_image(image)))
    )
    return outline


def _holds_signal(voxels: npt.NDArray[np.float32]) -> BoolArray:
    """Return which voxels are more than background; lossy compression leaves specks in that."""
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
    # What is brighter than grey matter must not dam the flood: fat and vessels are no ridge.
    flood: Any = watershed
    basin = flood(-np.minimum(signal, median), sources) == 1
    ball = ndimage.generate_binary_structure(3, 1)
    core = ndimage.binary_opening(basin & (signal > _DARK * median), ball, iterations=2)
    closed = ndimage.binary_closing(largest_part(core | certain), ball, iterations=4)
    mask: BoolArray = ndimage.binary_fill_holes(closed & basin)
    return mask


def largest_part(mask: BoolArray) -> BoolArray:
    """Return the largest connected part of a mask (face neighbours); an empty mask as it is."""
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest: BoolArray = parts == int(sizes.argmax())
    return largest


def to_grid(mask: BoolArray, image: sitk.Image, grid: sitk.Image) -> BoolArray:
    """Return a mask that was found on one image's voxels on those of another, its edge smooth."""
    import SimpleITK as sitk

    soft = image_of_array(mask.astype(np.float32), affine_of_image(image))
    identity = sitk.Transform(3, sitk.sitkIdentity)
    fine = sitk.Resample(soft, grid, identity, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    inside: BoolArray = array_of_image(fine) > 0.5
    return inside
