"""Fingerprints to recognise a scan: a digest of its voxels, and its pattern of sulci.

Two scans of one person differ in position, contrast, noise and shading, but share the pattern of
sulci and ventricles. The fingerprint contains only that pattern: the brain in template space at
4 mm, band-pass filtered between about 3 and 14 mm (which removes coarser shading and finer
registration errors), with normalised local contrast, minus the template's pattern, which all brains
share. Correlations of fingerprints distinguish people (Valizadeh et al. 2018, Sci Rep 8:5611, show
with other measures that brain anatomy identifies individuals).

A scan that was not registered is aligned for this purpose only; its voxels do not change.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import StoreError
from mri_transfer.scans.preparation.placement import place
from mri_transfer.scans.preparation.template import (
    Grid,
    affine_of_image,
    array_of_image,
    image_of_array,
    itk_affine,
    load_template,
)
from mri_transfer.scans.volumes import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = [
    "FINGERPRINT_VERSION",
    "NOT_COVERED",
    "VOXEL_MM3",
    "Fingerprint",
    "fingerprint",
    "voxel_sha256",
]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]

#: Increment when the same scan would give other values; versions cannot be compared.
FINGERPRINT_VERSION = "fingerprint/2"
#: Value of a fingerprint where the scan shows no brain.
NOT_COVERED = -128

_SPACING_MM = 4.0
#: Brain volume per value of a fingerprint.
VOXEL_MM3 = _SPACING_MM**3
#: Covers the template's brain; symmetric about x = 0, so that it can be mirrored.
_GRID = Grid(size=(145, 189, 161), origin_mm=(-72.0, -108.0, -72.0))
#: Standard deviations of the Gaussians of the band-pass filter.
_FINE_MM, _COARSE_MM = 1.5, 6.0
#: Local contrast below this fraction of the average is noise.
_MIN_CONTRAST = 0.25
#: A brain with less contrast than this fraction of its signal has no visible sulci.
_FLAT = 1e-3
#: Quantisation: number of steps per standard deviation.
_STEPS = 32
#: For each axis, the other two.
_OTHER_AXES = ((1, 2), (0, 2), (0, 1))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprint:
    """The pattern of sulci that identifies a scan.

    Parameters
    ----------
    values : ndarray of int8, shape (about 29000,)
        One value per 4 mm voxel of the template's brain, in a fixed order: the scan's local
        deviation minus the template's, in 1/32 standard deviations; `NOT_COVERED` where the scan
        shows no brain.

    Raises
    ------
    StoreError
        If the array does not have this version's type and shape.
    """

    values: npt.NDArray[np.int8]

    def __post_init__(self) -> None:
        expected = (int(_inside().sum()),)
        if self.values.dtype != np.int8 or self.values.shape != expected:
            raise StoreError(
                "not a fingerprint of this version",
                found=f"{self.values.dtype} of shape {self.values.shape}",
                expected=f"int8 of shape {expected}",
                remedy="Prepare the scan again",
            )

    @property
    def covered(self) -> BoolArray:
        """Where the scan shows brain, same shape as `values`."""
        covered: BoolArray = self.values != NOT_COVERED
        return covered

    def mirrored(self) -> Fingerprint:
        """Return the fingerprint of the left-right flipped scan."""
        inside = _inside()
        on_grid = np.full(inside.shape, NOT_COVERED, dtype=np.int8)
        on_grid[inside] = self.values
        return Fingerprint(values=on_grid[::-1][inside])


def fingerprint(
    volume: Volume, mask: BoolArray, *, registered: bool, turn: int | None = None
) -> Fingerprint:
    """Return the fingerprint of a prepared scan.

    Parameters
    ----------
    volume : Volume
        The prepared scan.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain mask; voxels outside are ignored.
    registered : bool
        Whether it was registered to the template. If not, as with a scan that passed through, it
        is aligned first (`place`).
    turn : int, optional
        Result of `turn_in_place` for an unregistered scan, if known.

    Returns
    -------
    Fingerprint
        Independent of the number of threads. That of a scan without brain covers nothing.
    """
    if not mask.any():
        return Fingerprint(values=np.full(int(_inside().sum()), NOT_COVERED, dtype=np.int8))
    placement = np.eye(4) if registered else place(volume, mask, turn=turn)
    pattern, covered = _pattern(volume.voxels, mask, volume.affine, placement)
    shared, shared_covered = _template_pattern()
    covered &= shared_covered
    weight = float((shared[covered] ** 2).sum())
    if weight > 0:
        pattern = pattern - shared * (float((pattern * shared)[covered].sum()) / weight)
    steps = np.clip(np.rint(pattern * _STEPS), -127, 127)
    values = np.where(covered, steps, NOT_COVERED).astype(np.int8)
    return Fingerprint(values=values[_inside()])


def voxel_sha256(volume: Volume) -> str:
    """Return a digest of a volume's content that does not depend on its header.

    Copies have the same digest even if they differ in affine, order and direction of axes, scale
    factors (values are ranked), lossless voxel type, compression, or a border of the lowest value.
    Copies of a volume whose axes or sides have equal sums, as in synthetic images only, may be
    missed.

    Parameters
    ----------
    volume : Volume
        The scan as loaded, before preparation.
    """
    shown = volume.voxels > volume.voxels.min()
    extents = [np.nonzero(shown.any(axis=axes))[0] for axes in _OTHER_AXES]
    voxels = volume.voxels[
        tuple(slice(at[0], at[-1] + 1) if at.size else slice(1) for at in extents)
    ]
    levels, inverse = np.unique(voxels, return_inverse=True)
    ranks = inverse.reshape(voxels.shape).astype("<u2" if levels.size <= 1 << 16 else "<u4")
    profiles = [ranks.sum(axis=axes, dtype=np.int64).tolist() for axes in _OTHER_AXES]
    forwards = [profile <= profile[::-1] for profile in profiles]
    ranks = ranks[tuple(slice(None, None, 1 if forward else -1) for forward in forwards)]
    keys = [min(profile, profile[::-1]) for profile in profiles]
    ranks = ranks.transpose(sorted(range(3), key=lambda axis: (len(keys[axis]), keys[axis])))
    sha = hashlib.sha256(repr(ranks.shape).encode())
    sha.update(np.ascontiguousarray(ranks).data)
    return sha.hexdigest()


def _pattern(
    voxels: npt.NDArray[Any], mask: BoolArray, affine: Matrix, placement: Matrix
) -> tuple[FloatArray, BoolArray]:
    """Return the local pattern on the fingerprint's grid, with unit variance, and the brain."""
    from scipy import ndimage

    def average(values: FloatArray) -> FloatArray:
        """Average over brain voxels only, without surrounding fluid and bone."""
        sigma = _COARSE_MM / _SPACING_MM
        total = ndimage.gaussian_filter(values * covered, sigma, mode="constant")
        weight = ndimage.gaussian_filter(covered.astype(np.float32), sigma, mode="constant")
        return np.asarray(total / np.maximum(weight, 1e-3), dtype=np.float32)

    weight = _sampled(mask.astype(np.float32), affine, placement)
    covered = weight > 0.5
    # Relative to the brain's mean, so that 8-bit and 16-bit scans round alike.
    brain = np.where(mask, voxels / max(float(np.abs(voxels[mask]).mean()), 1e-30), 0)
    sampled = _sampled(brain.astype(np.float32), affine, placement)
    signal = np.asarray(sampled / np.maximum(weight, 1e-3), dtype=np.float32)
    detail = (signal - average(signal)) * covered
    contrast = np.sqrt(average(detail**2))
    usual = float(contrast[covered].mean()) if covered.any() else 0.0
    if usual < _FLAT:
        return np.zeros_like(detail), covered
    pattern = detail / np.maximum(contrast, _MIN_CONTRAST * usual)
    return pattern.astype(np.float32), covered


def _sampled(voxels: FloatArray, affine: Matrix, placement: Matrix) -> FloatArray:
    """Smooth, and sample on the fingerprint's grid; 0 outside the field of view."""
    import SimpleITK as sitk

    image = sitk.SmoothingRecursiveGaussian(image_of_array(voxels, affine), _FINE_MM)
    sampled = sitk.Resample(
        image, _grid(), itk_affine(placement), sitk.sitkLinear, 0.0, sitk.sitkFloat32
    )
    return array_of_image(sampled)


@functools.cache
def _grid() -> sitk.Image:
    return _GRID.image(spacing_mm=_SPACING_MM)


@functools.cache
def _inside() -> BoolArray:
    """Return the voxels of a fingerprint on the grid: the brain and its mirror image."""
    brain = load_template().mask_on(_grid())
    inside: BoolArray = brain | brain[::-1]
    return inside


@functools.cache
def _template_pattern() -> tuple[FloatArray, BoolArray]:
    template = load_template()
    affine = affine_of_image(template.t1)
    brain = array_of_image(template.mask) > 0
    return _pattern(array_of_image(template.t1), brain, affine, np.eye(4))
