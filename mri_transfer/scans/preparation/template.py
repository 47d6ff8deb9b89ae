"""The template of preparation: MNI152NLin2009aSym as shipped with nilearn.

Skull-stripped, 1 mm, symmetric (Fonov et al. 2011, NeuroImage 54:313-327). SimpleITK uses LPS world
coordinates, NIfTI and this package RAS; only the functions at the end convert between them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import SimpleITK as sitk

    from mri_transfer.scans.volumes import Volume

__all__ = [
    "CENTRE_LPS_MM",
    "SPACE",
    "Grid",
    "Template",
    "affine_of_image",
    "array_of_image",
    "image_of_array",
    "image_of_volume",
    "itk_affine",
    "load_template",
    "prepared_grid",
    "ras_matrix",
    "template_at",
    "template_brain_mm3",
    "to_spacing",
]

#: Name of the template's space in BIDS.
SPACE = "MNI152NLin2009aSym"

#: The centre of the template brain, about which scans are rotated and scaled.
CENTRE_LPS_MM = (0.0, 18.0, 8.0)

Matrix: TypeAlias = npt.NDArray[np.float64]

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: A Gaussian whose full width at half maximum is one voxel.
_FWHM = 2.355


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Voxels of a prepared volume, RAS+, 1 mm.

    Parameters
    ----------
    size : tuple of int
        Voxels along x, y, z.
    origin_mm : tuple of float
        RAS position of the first voxel's centre.
    """

    size: tuple[int, int, int]
    origin_mm: tuple[float, float, float]

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel index to template millimetres, shape (4, 4)."""
        affine = np.eye(4)
        affine[:3, 3] = self.origin_mm
        return affine

    def image(self, *, spacing_mm: float = 1.0) -> sitk.Image:
        """Return an empty image that covers the grid, with the given voxel size."""
        size = [int(np.ceil(extent / spacing_mm)) for extent in self.size]
        voxels = np.zeros(size, dtype=np.float32)
        affine = self.affine
        affine[:3, :3] *= spacing_mm
        return image_of_array(voxels, affine)


#: The brain with a margin of some millimetres: x -80..80, y -113..83, z -76..90.
_CROPPED = Grid(size=(161, 197, 167), origin_mm=(-80.0, -113.0, -76.0))
_WHOLE = Grid(size=(197, 233, 189), origin_mm=(-98.0, -134.0, -72.0))


def prepared_grid(*, crop: bool) -> Grid:
    """Return the fixed grid of prepared volumes: cropped to the brain, or the template's."""
    return _CROPPED if crop else _WHOLE


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """The template brain at 1 mm.

    Parameters
    ----------
    t1 : SimpleITK.Image, float32
        T1-weighted signal, 0 to 1, 0 outside the brain.
    mask : SimpleITK.Image, uint8
        1 inside the brain.
    grey, white : SimpleITK.Image, float32
        Probability of grey and white matter, 0 to 1.
    """

    t1: sitk.Image
    mask: sitk.Image
    grey: sitk.Image
    white: sitk.Image

    def mask_on(self, image: sitk.Image, *, margin_mm: float = 0.0) -> npt.NDArray[np.bool_]:
        """Return the brain mask on an image's grid, dilated or (if negative) eroded by a margin.

        Returns
        -------
        ndarray of bool, shape (X, Y, Z)
            Read-only: it is kept for the next image on the same grid.
        """
        return _mask_on(self, _Geometry.of(image), margin_mm)

    def tissue_on(self, image: sitk.Image, tissue: str) -> npt.NDArray[np.float32]:
        """Return `t1`, `grey` or `white` on an image's grid, shape (X, Y, Z), read-only."""
        return _tissue_on(self, _Geometry.of(image), tissue)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Geometry:
    """Where an image's voxels lie; scans of one cohort often share it."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> _Geometry:
        return cls(
            size=image.GetSize(),
            spacing=image.GetSpacing(),
            origin=image.GetOrigin(),
            direction=image.GetDirection(),
        )

    def image(self) -> sitk.Image:
        """Return an empty image."""
        import SimpleITK as sitk

        image = sitk.Image(self.size, sitk.sitkUInt8)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image


@functools.lru_cache(maxsize=8)
def _mask_on(template: Template, geometry: _Geometry, margin_mm: float) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_]
    if margin_mm == 0:
        inside = array_of_image(_resampled(template.mask, geometry.image())) > 0.5
    else:
        distance = _resampled(_signed_distance_mm(), geometry.image(), outside=1e3)
        inside = array_of_image(distance) <= margin_mm
    inside.flags.writeable = False
    return inside


@functools.lru_cache(maxsize=4)
def _tissue_on(template: Template, geometry: _Geometry, tissue: str) -> npt.NDArray[np.float32]:
    values = array_of_image(_resampled(getattr(template, tissue), geometry.image()))
    values.flags.writeable = False
    return values


@functools.cache
def load_template() -> Template:
    """Load the template, its brain mask and its tissue maps from the installed nilearn."""
    from nilearn import datasets

    def image(loaded: Any) -> sitk.Image:
        voxels = np.asarray(loaded.dataobj, dtype=np.float32)
        return image_of_array(voxels, np.asarray(loaded.affine))

    import SimpleITK as sitk

    return Template(
        t1=image(datasets.load_mni152_template(resolution=1)),
        mask=sitk.Cast(image(datasets.load_mni152_brain_mask(resolution=1)), sitk.sitkUInt8),
        grey=image(datasets.load_mni152_gm_template(resolution=1)),
        white=image(datasets.load_mni152_wm_template(resolution=1)),
    )


@functools.cache
def template_brain_mm3() -> float:
    """Return the volume of the template's brain."""
    return float(array_of_image(load_template().mask).sum())


@functools.cache
def _signed_distance_mm() -> sitk.Image:
    """Return the distance to the brain's outline in mm, negative inside, on a padded grid."""
    import SimpleITK as sitk

    # Distances are smooth: half the resolution is sufficient.
    soft = to_spacing(sitk.Cast(load_template().mask, sitk.sitkFloat32), 2.0)
    pad = [15, 15, 15]
    padded = sitk.ConstantPad(sitk.Cast(soft > 0.5, sitk.sitkUInt8), pad, pad, 0)
    return sitk.SignedMaurerDistanceMap(padded, squaredDistance=False, useImageSpacing=True)


@functools.cache
def template_at(spacing_mm: float) -> sitk.Image:
    """Return the template's signal at a coarser resolution."""
    return to_spacing(load_template().t1, spacing_mm)


def _resampled(image: sitk.Image, reference: sitk.Image, *, outside: float = 0.0) -> sitk.Image:
    import SimpleITK as sitk

    identity = sitk.Transform(3, sitk.sitkIdentity)
    return sitk.Resample(image, reference, identity, sitk.sitkLinear, outside, sitk.sitkFloat32)


def to_spacing(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Return an image with isotropic voxels, smoothed to prevent aliasing.

    Axes with a coarser resolution are interpolated without smoothing. The field of view is kept.
    """
    import SimpleITK as sitk

    spacing = np.array(image.GetSpacing())
    sigma_mm = np.sqrt(np.maximum(spacing_mm**2 - spacing**2, 0.0)) / _FWHM
    if sigma_mm.max() > 0:
        # A width of 0 is not accepted; a thousandth of a millimetre has no effect.
        image = sitk.SmoothingRecursiveGaussian(image, np.maximum(sigma_mm, 1e-3).tolist())
    n_voxels = np.array(image.GetSize())
    size = np.maximum(np.ceil(n_voxels * spacing / spacing_mm).astype(int), 1)
    # Both grids cover the same box, so that their first voxel centres differ.
    first = (spacing_mm - spacing) / 2 / spacing
    origin = image.TransformContinuousIndexToPhysicalPoint(first.tolist())
    identity = sitk.Transform(3, sitk.sitkIdentity)
    return sitk.Resample(
        image,
        size.tolist(),
        identity,
        sitk.sitkLinear,
        origin,
        [spacing_mm] * 3,
        image.GetDirection(),
        0.0,
        sitk.sitkFloat32,
        True,  # extrapolate with the nearest value
    )


def image_of_volume(volume: Volume) -> sitk.Image:
    """Return a volume as a SimpleITK image; its voxels are copied."""
    return image_of_array(volume.voxels, volume.affine)


def image_of_array(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> sitk.Image:
    """Return voxels (X, Y, Z) with their RAS affine as a SimpleITK image (LPS)."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    lps = _LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def array_of_image(image: sitk.Image) -> npt.NDArray[Any]:
    """Return an image's voxels as an array (X, Y, Z); a copy."""
    import SimpleITK as sitk

    voxels: npt.NDArray[Any] = sitk.GetArrayFromImage(image)
    return np.ascontiguousarray(voxels.transpose(2, 1, 0))


def affine_of_image(image: sitk.Image) -> npt.NDArray[np.float64]:
    """Return the affine from voxel index to RAS millimetres, shape (4, 4)."""
    affine = np.eye(4)
    direction: Sequence[float] = image.GetDirection()
    affine[:3, :3] = np.array(direction).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return _LPS @ affine


def itk_affine(matrix: Matrix) -> Any:
    """Return a RAS matrix (4, 4) as a SimpleITK transform about the template's centre."""
    import SimpleITK as sitk

    lps = _LPS @ matrix @ _LPS
    centre = np.array(CENTRE_LPS_MM)
    transform = sitk.AffineTransform(3)
    transform.SetCenter(CENTRE_LPS_MM)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation((lps[:3, 3] + lps[:3, :3] @ centre - centre).tolist())
    return transform


def ras_matrix(transform: Any) -> Matrix:
    """Return an affine SimpleITK transform as a RAS matrix (4, 4)."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    moved = np.eye(4)
    moved[:3, 3] = origin
    for axis, unit in enumerate(np.eye(3)):
        moved[:3, axis] = np.array(transform.TransformPoint(unit.tolist())) - origin
    matrix: Matrix = _LPS @ moved @ _LPS
    return matrix
