"""Detect scans that are already prepared: skull-stripped brains in template space.

A whole brain must also be upright. A slab is used unchanged even if it looks rotated, which quality
control reports as a warning, since it cannot be registered reliably.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.brain import empty_share_around, outline_of_stripped
from mri_transfer.scans.preparation.pose import SEARCH_SPACING_MM, TURNS, Probe, slide
from mri_transfer.scans.preparation.registration import fit_rigidly
from mri_transfer.scans.preparation.template import (
    CENTRE_LPS_MM,
    affine_of_image,
    array_of_image,
    image_of_array,
    image_of_volume,
    load_template,
    template_at,
    template_brain_mm3,
    to_spacing,
)
from mri_transfer.scans.volumes import Volume

__all__ = ["is_slab", "lies_in_place", "turn_in_place"]

#: A scan with a larger empty fraction of the shell around the brain has no skull, ...
_MIN_EMPTY_SHARE = 0.85
#: ... and one whose outline overlaps the template's by more than this (Dice) is in its space. The
#: Talairach volumes of OASIS-1 reach .90; brains at their natural size stay below .8.
_MIN_DICE = 0.85

#: A scan that covers less than this fraction of the template's brain is a slab.
_WHOLE = 0.8
#: Number of orientations fitted in addition to the upright one.
_CONTESTANTS = 3


def lies_in_place(volume: Volume) -> bool:
    """Return whether a scan, whole or a slab, is a skull-stripped brain in template space.

    Parameters
    ----------
    volume : Volume
    """
    image = image_of_volume(volume)
    covered = np.ones(volume.voxels.shape, dtype=np.bool_)
    if empty_share_around(image, covered) < _MIN_EMPTY_SHARE:
        return False
    outline, brain = outline_of_stripped(image), load_template().mask_on(image)
    return bool(2 * (outline & brain).sum() >= _MIN_DICE * (outline.sum() + brain.sum()))


def is_slab(volume: Volume) -> bool:
    """Return whether a scan in template space covers only part of the template's brain."""
    inside = load_template().mask_on(image_of_volume(volume)).sum()
    voxel_mm3 = float(np.prod(volume.spacing_mm))
    return bool(inside * voxel_mm3 < _WHOLE * template_brain_mm3())


def turn_in_place(volume: Volume) -> tuple[int, float]:
    """Find the orientation of a scan in template space, from its content.

    The scan is matched against all positions in the template, so that a slab can be found; the
    likeliest orientations and the upright one are then fitted rigidly.

    Parameters
    ----------
    volume : Volume
        A brain without skull, or a slab of one.

    Returns
    -------
    turn : int
        Index into `TURNS`, 0 if the scan is upright.
    margin : float
        Difference in mutual information with the template (nats) to the second best orientation.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    image = to_spacing(image_of_volume(volume), SEARCH_SPACING_MM)
    template = template_at(SEARCH_SPACING_MM)
    outline = ndimage.binary_dilation(outline_of_stripped(image))
    matches = slide(array_of_image(template), Probe.of(array_of_image(image), outline))
    order = sorted(range(1, len(TURNS)), key=lambda turn: -matches[turn][0])
    mask = sitk.Cast(
        image_of_array(outline.astype(np.uint8), affine_of_image(image)), sitk.sitkUInt8
    )
    middle = np.array(CENTRE_LPS_MM) * (-1, -1, 1)
    middle[2] = _middle_mm(image)
    information = {
        turn: fit_rigidly(image, mask, template, _about(TURNS[turn], middle))[0]
        for turn in (0, *order[:_CONTESTANTS])
    }
    best = max(information, key=lambda turn: information[turn])
    rival = max(value for turn, value in information.items() if turn != best)
    # The scan's orientation in the template is the inverse of the template's in the scan.
    return _inverse(best), information[best] - rival


def _middle_mm(image: Any) -> float:
    """Return the height of an image's centre."""
    middle = (np.array(image.GetSize()) - 1) / 2
    return float((affine_of_image(image) @ np.append(middle, 1.0))[2])


def _about(
    turn: npt.NDArray[np.float64], centre: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre - turn @ centre
    return matrix


def _inverse(turn: int) -> int:
    return next(other for other, matrix in enumerate(TURNS) if (matrix == TURNS[turn].T).all())
