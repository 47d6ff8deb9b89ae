"""The aged template: the template brain with wide ventricles and sulci, for atrophied heads.

MNI152 is based on young adults. Its mutual information with an atrophied head is low where the
template has tissue and the head has fluid, which are the regions that distinguish orientations. The
aged template is the same brain in the same space, deformed inside its outline: ventricles expand by
a smooth map that vanishes at the brain's surface.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.template import (
    affine_of_image,
    array_of_image,
    image_of_array,
    load_template,
    to_spacing,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["aged_template_at", "aged_template_on"]

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

_SPACING_MM = 2.0
#: Factor by which the ventricles' volume grows.
_GROWTH = 4.0
#: Distance from the ventricles up to which tissue moves, and the depth over which the map fades.
_REACH_MM, _FADE_MM = 45.0, 8.0
#: RAS limits in mm and minimum depth of ventricular fluid.
_BOX_MM = ((-45.0, 45.0), (-60.0, 45.0), (-10.0, 40.0))
_MIN_DEPTH_MM = 18.0
#: Depth of the rim in which sulci widen, and the depth over which this fades.
_RIM_MM, _RIM_FADE_MM = 22.0, 8.0


@functools.cache
def aged_template_at(spacing_mm: float) -> sitk.Image:
    """Return the aged template's signal at a resolution of 2 mm or more."""
    return to_spacing(_aged(), spacing_mm)


def aged_template_on(image: sitk.Image) -> FloatArray:
    """Return the aged template's signal on an image's voxels, shape (X, Y, Z)."""
    import SimpleITK as sitk

    identity = sitk.Transform(3, sitk.sitkIdentity)
    return array_of_image(
        sitk.Resample(_aged(), image, identity, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    )


@functools.cache
def _aged() -> sitk.Image:
    import SimpleITK as sitk
    from scipy import ndimage

    template = load_template()
    small = to_spacing(template.t1, _SPACING_MM)
    signal, affine = array_of_image(small), affine_of_image(small)
    inside = to_spacing(sitk.Cast(template.mask, sitk.sitkFloat32), _SPACING_MM)
    brain = array_of_image(inside) > 0.5
    depth_mm = _SPACING_MM * np.asarray(ndimage.distance_transform_edt(brain))
    tissue = sum(
        array_of_image(to_spacing(part, _SPACING_MM)) for part in (template.grey, template.white)
    )
    ventricles = _central_fluid(np.asarray(tissue) < 0.5, depth_mm, affine)
    grown = _grown(signal, ventricles, brain, depth_mm)
    narrow = ndimage.gaussian_filter(ndimage.grey_erosion(grown, size=(3, 3, 3)), 0.6)
    share = np.clip((_RIM_MM - depth_mm) / _RIM_FADE_MM, 0.0, 1.0) * brain
    aged = grown * (1 - share) + narrow * share
    return image_of_array(aged.astype(np.float32), affine)


def _central_fluid(
    fluid: npt.NDArray[np.bool_], depth_mm: Array, affine: Array
) -> npt.NDArray[np.bool_]:
    """Return the ventricles: central fluid, without small components."""
    from scipy import ndimage

    index = np.asarray(np.indices(fluid.shape), dtype=np.float64).reshape(3, -1)
    at_mm = (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *fluid.shape)
    box = np.ones(fluid.shape, dtype=np.bool_)
    for axis, (low, high) in enumerate(_BOX_MM):
        box &= (at_mm[axis] > low) & (at_mm[axis] < high)
    parts, _ = ndimage.label(fluid & box & (depth_mm > _MIN_DEPTH_MM))
    sizes = np.bincount(parts.ravel())[1:]
    return np.isin(parts, 1 + np.flatnonzero(sizes > 0.1 * sizes.max()))


def _grown(
    signal: FloatArray,
    ventricles: npt.NDArray[np.bool_],
    brain: npt.NDArray[np.bool_],
    depth_mm: Array,
) -> Array:
    """Expand the ventricles to `_GROWTH` times their volume."""
    from scipy import ndimage

    outside, within = (
        _SPACING_MM * np.asarray(ndimage.distance_transform_edt(part))
        for part in (~ventricles, ventricles)
    )
    distance = ndimage.gaussian_filter(outside - within, 0.7)
    width_mm = float(np.sort(distance[brain])[int(_GROWTH * ventricles.sum())])
    # Tissue between the new surface and the reach is compressed uniformly.
    squeezed = _REACH_MM * (distance - width_mm) / (_REACH_MM - width_mm)
    source = np.where(distance < _REACH_MM, np.maximum(squeezed, 0.0), distance)
    fade = np.clip(depth_mm / _FADE_MM, 0.0, 1.0)
    slope = np.array([np.gradient(distance, _SPACING_MM, axis=axis) for axis in range(3)])
    slope /= np.maximum(np.linalg.norm(slope, axis=0), 0.3)
    voxels = slope * (distance - source) * fade / _SPACING_MM
    index = np.asarray(np.indices(signal.shape), dtype=np.float64) - voxels
    moved = ndimage.map_coordinates(signal, index, order=1, mode="nearest")
    wet = np.clip((width_mm - distance) / _SPACING_MM + 0.5, 0.0, 1.0)
    return np.asarray(moved * (1 - wet) + float(np.median(signal[ventricles])) * wet)
