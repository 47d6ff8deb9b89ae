"""What a scan can be recognised by: its voxels whatever the header says, and its brain's folds.

Two scans of one person differ in position, contrast, noise and shading, and agree in the pattern of
sulci and ventricles. The fingerprint keeps that pattern alone: the brain in the template's space at
4 mm, detail between about 3 and 14 mm (coarser shading and finer registration errors are gone),
every neighbourhood brought to one contrast, and what the template shows as well taken away, because
all brains share it. Correlations of such patterns tell people apart (Valizadeh et al. 2018,
Sci Rep 8:5611, show with other measures that a brain's anatomy identifies its owner).

A scan that was not registered is placed for this purpose only; its voxels stay as they are.
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

#: Raise when the same scan would give other values; fingerprints of two versions do not compare.
FINGERPRINT_VERSION = "fingerprint/1"
#: What a fingerprint holds where the scan shows no brain.
NOT_COVERED = -128

_SPACING_MM = 4.0
#: Brain that one value of a fingerprint stands for.
VOXEL_MM3 = _SPACING_MM**3
#: The template's brain; the same to the left and to the right of 0, so that it can be mirrored.
_GRID = Grid(size=(145, 189, 161), origin_mm=(-72.0, -108.0, -72.0))
#: Gaussians between which detail is kept.
_FINE_MM, _COARSE_MM = 1.5, 6.0
#: A neighbourhood flatter than this share of the average one shows noise, not folds.
_MIN_CONTRAST = 0.25
#: A brain with less contrast than this share of its signal has no folds to see.
_FLAT = 1e-3
#: Steps in which values are stored: a standard deviation has this many.
_STEPS = 32
#: For each axis, the two others.
_OTHER_AXES = ((1, 2), (0, 2), (0, 1))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprint:
    """The pattern of folds that a scan is recognised by.

    Parameters
    ----------
    values : ndarray of int8, shape (29000 or so,)
        One value for each 4 mm of the template's brain, in a fixed order: how the scan deviates
        from its neighbourhood and from the template, 32 to a standard deviation; `NOT_COVERED`
        where the scan shows no brain.

    Raises
    ------
    StoreError
        If the array is not one of this version.
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
        """Where the scan shows brain, shape as `values`."""
        covered: BoolArray = self.values != NOT_COVERED
        return covered

    def mirrored(self) -> Fingerprint:
        """Return the fingerprint of the scan with left and right exchanged."""
        inside = _inside()
        on_grid = np.full(inside.shape, NOT_COVERED, dtype=np.int8)
        on_grid[inside] = self.values
        return Fingerprint(values=on_grid[::-1][inside])


def fingerprint(
    volume: Volume, mask: BoolArray, *, registered: bool, turn: int | None = None
) -> Fingerprint:
    """Return what a prepared scan is recognised by.

    Parameters
    ----------
    volume : Volume
        The prepared scan.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain on its voxels. What lies outside is not looked at.
    registered : bool
        Whether it lies in the template's space because it was registered to it. If not, as with a
        scan that was ready as it came, it is placed first (`place`).
    turn : int, optional
        What `turn_in_place` says of a scan that was not registered, if that is known.

    Returns
    -------
    Fingerprint
        The same for the same voxels, whatever the number of threads. A scan without brain has one
        that covers nothing.
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

    Copies have the same digest if they differ in affine, in the order and direction of their axes,
    in the scale factors (values count by their rank), in the type of voxels that holds them all,
    in compression, and in a border of the lowest value. A volume whose axes or sides cannot be
    told apart by their sums, as only a drawn one, may be missed.

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
    found = hashlib.sha256(repr(ranks.shape).encode())
    found.update(np.ascontiguousarray(ranks).data)
    return found.hexdigest()


def _pattern(
    voxels: npt.NDArray[Any], mask: BoolArray, affine: Matrix, placement: Matrix
) -> tuple[FloatArray, BoolArray]:
    """Return the local pattern on the fingerprint's grid, unit variance, and where brain is."""
    from scipy import ndimage

    def average(values: FloatArray) -> FloatArray:
        """Average over brain alone: fluid and bone around it must not shine in."""
        sigma = _COARSE_MM / _SPACING_MM
        total = ndimage.gaussian_filter(values * covered, sigma, mode="constant")
        weight = ndimage.gaussian_filter(covered.astype(np.float32), sigma, mode="constant")
        return np.asarray(total / np.maximum(weight, 1e-3), dtype=np.float32)

    weight = _sampled(mask.astype(np.float32), affine, placement)
    covered = weight > 0.5
    # Relative to the brain's own level, so that 8 bits and 16 bits round alike.
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
    """Blur, and sample on the fingerprint's grid; 0 outside the field of view."""
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
    """Return which voxels of the grid a fingerprint holds: the brain and its mirror image."""
    brain = load_template().mask_on(_grid())
    inside: BoolArray = brain | brain[::-1]
    return inside


@functools.cache
def _template_pattern() -> tuple[FloatArray, BoolArray]:
    template = load_template()
    affine = affine_of_image(template.t1)
    brain = array_of_image(template.mask) > 0
    return _pattern(array_of_image(template.t1), brain, affine, np.eye(4))
