"""Synthetic heads: a template's tissues, deformed, thinned and rendered as a T1 scan.

Positions are MNI world coordinates in millimetres (RAS+). All maps have axes (X, Y, Z). Tissues are
volume fractions; inside the brain mask, whatever is neither grey nor white matter is fluid, so
that atrophy leaves fluid and the mask (the intracranial volume) does not change.
`mri_transfer.cohorts.synthetic.template` defines where changes are planted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mri_transfer.cohorts.synthetic.template import FIELD_STEP_MM, Template

__all__ = [
    "Contrast",
    "Grid",
    "Loads",
    "Tissues",
    "draw_deformation",
    "draw_picture",
    "grow_tissues",
    "make_grid",
    "smooth_noise",
]

FloatArray = npt.NDArray[np.float32]

#: Bounding box of all generated brains, with a margin for large heads (MNI mm).
_BOX_MM = ((-82.0, 82.0), (-120.0, 88.0), (-72.0, 94.0))
_CENTRE_MM = (0.0, -18.0, 8.0)


@dataclass(frozen=True, kw_only=True)
class Loads:
    """Load of each planted change; 0 is the template's state, 1 is severe."""

    ventricle: float
    medial_temporal: float
    cortex: float


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Mean T1 signals, as fractions of nominal white matter, and the strength of the texture."""

    white: float = 1.0
    grey: float = 0.74
    fluid: float = 0.28
    texture: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Voxel centres of a volume in RAS+: `origin_mm + index * spacing_mm`."""

    shape: tuple[int, int, int]
    spacing_mm: float
    origin_mm: tuple[float, float, float]

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel to world matrix, shape (4, 4)."""
        affine = np.diag([self.spacing_mm] * 3 + [1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    def points_mm(self) -> FloatArray:
        """Return the world position of each voxel, shape (3, X, Y, Z)."""
        axes = [
            o + self.spacing_mm * np.arange(n)
            for o, n in zip(self.origin_mm, self.shape, strict=True)
        ]
        return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Tissues:
    """A generated brain: fractions of grey and white matter, mask and texture, each (X, Y, Z)."""

    grey: FloatArray
    white: FloatArray
    mask: npt.NDArray[np.bool_]
    texture: FloatArray

    @property
    def fluid(self) -> FloatArray:
        """Fluid fraction, 0 to 1; 0 outside the brain mask."""
        return np.where(self.mask, np.clip(1 - self.grey - self.white, 0, 1), 0).astype(np.float32)

    @property
    def brain_fraction(self) -> float:
        """Grey and white matter as a share of the mask's volume, 0 to 1."""
        return float(1 - self.fluid.sum(dtype=np.float64) / self.mask.sum())


def make_grid(spacing_mm: float) -> Grid:
    """Return the isotropic grid of generated brains."""
    shape = tuple(int(np.ceil((high - low) / spacing_mm)) for low, high in _BOX_MM)
    return Grid(
        shape=(shape[0], shape[1], shape[2]),
        spacing_mm=spacing_mm,
        origin_mm=(_BOX_MM[0][0], _BOX_MM[1][0], _BOX_MM[2][0]),
    )


def smooth_noise(
    rng: np.random.Generator, grid: Grid, *, reach_mm: float, n_fields: int = 1
) -> FloatArray:
    """Draw smooth random fields of mean 0 and standard deviation 1.

    White noise on a coarse grid, blurred by a Gaussian and interpolated linearly.

    Parameters
    ----------
    rng : numpy.random.Generator
    grid : Grid
    reach_mm : float
        Standard deviation of the Gaussian.
    n_fields : int

    Returns
    -------
    ndarray of float32, shape (n_fields, X, Y, Z)
    """
    step_mm = reach_mm / 2
    pad = 6  # keeps boundary effects of the filter outside
    extent = [int(np.ceil(n * grid.spacing_mm / step_mm)) + 2 + 2 * pad for n in grid.shape]
    coarse = rng.standard_normal((n_fields, *extent), dtype=np.float32)
    coarse = ndimage.gaussian_filter(coarse, (0, 2, 2, 2))
    coarse *= (2 * np.sqrt(np.pi) * 2) ** 1.5  # restores unit standard deviation
    for axis, n in enumerate(grid.shape, start=1):
        coarse = _interpolate_axis(coarse, pad + np.arange(n) * (grid.spacing_mm / step_mm), axis)
    return coarse


def draw_deformation(rng: np.random.Generator, grid: Grid, *, variation: float) -> FloatArray:
    """Draw a person's anatomy: the template position of each point of the head.

    Head size (3.5 % per axis), tilt (3 degrees) and smooth displacement at three scales: head
    shape, lobes and gyri.

    Parameters
    ----------
    rng : numpy.random.Generator
    grid : Grid
    variation : float
        Scales all of these; 0 gives the template's own anatomy.

    Returns
    -------
    ndarray of float32, shape (3, X, Y, Z)
        Template position in millimetres of each voxel.
    """
    from scipy.spatial.transform import Rotation

    scale = 1 + variation * np.clip(rng.normal(0, 0.035, 3), -0.07, 0.07)
    tilt = variation * np.clip(rng.normal(0, 3, 3), -6, 6)
    matrix = (Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() * scale).astype(np.float32)
    centre = np.array(_CENTRE_MM, dtype=np.float32)[:, None, None, None]
    points = np.einsum("ij,jxyz->ixyz", matrix, grid.points_mm() - centre) + centre
    for reach_mm, amplitude_mm in ((35.0, 2.2), (14.0, 1.4), (6.0, 0.8)):
        noise = smooth_noise(rng, grid, reach_mm=reach_mm, n_fields=3)
        points += np.float32(variation * amplitude_mm) * noise
    deformed: FloatArray = points.astype(np.float32)
    return deformed


def grow_tissues(template: Template, points_mm: FloatArray, loads: Loads) -> Tissues:
    """Generate the tissues of one brain.

    Parameters
    ----------
    template : Template
    points_mm : ndarray of float32, shape (3, X, Y, Z)
        Template position of each voxel, from `draw_deformation`.
    loads : Loads

    Returns
    -------
    Tissues
    """
    strength = {site: np.float32(getattr(loads, site)) for site in template.push_mm}
    push_mm = sum(strength[site] * field for site, field in template.push_mm.items())
    loss = sum(strength[site] * field for site, field in template.loss.items())
    origin = np.array(template.origin_mm, dtype=np.float32)[:, None, None, None]
    coarse = (points_mm - origin) / np.float32(FIELD_STEP_MM)
    moved = points_mm - origin + np.stack([_sample(axis, coarse) for axis in np.asarray(push_mm)])
    grey_map, white_map, mask_map, texture_map = template.maps
    grey, white, texture = (_sample(m, moved) for m in (grey_map, white_map, texture_map))
    # The intracranial volume does not change: a receding cortex leaves fluid at the rim.
    mask = _sample(mask_map, points_mm - origin)
    kept = 1 - np.clip(_sample(np.asarray(loss), moved / np.float32(FIELD_STEP_MM)), -0.3, 0.9)
    tissue = grey + white
    limit = np.minimum(kept, 1 / np.maximum(tissue, np.float32(1e-3)))
    return Tissues(grey=grey * limit, white=white * limit, mask=mask > 0.5, texture=texture * kept)


def draw_picture(
    rng: np.random.Generator,
    tissues: Tissues,
    grid: Grid,
    *,
    contrast: Contrast,
    noise: float,
    bias: float,
) -> FloatArray:
    """Render a brain as a T1 scan with a bias field and Rician noise; 0 outside the mask.

    Parameters
    ----------
    rng : numpy.random.Generator
    tissues : Tissues
    grid : Grid
    contrast : Contrast
    noise : float
        Standard deviation of the Gaussian noise in the real and imaginary channel, as a fraction
        of white matter; the magnitude is Rician (Gudbjartsson and Patz 1995).
    bias : float
        Standard deviation of the logarithm of the smooth bias field.

    Returns
    -------
    ndarray of float32, shape (X, Y, Z)
        Nominal white matter is 1.
    """
    signal = (
        contrast.grey * tissues.grey
        + contrast.white * tissues.white
        + contrast.fluid * tissues.fluid
        + contrast.texture * tissues.texture
    )
    signal = signal * np.exp(bias * smooth_noise(rng, grid, reach_mm=45.0)[0])
    real, imaginary = noise * rng.standard_normal((2, *grid.shape), dtype=np.float32)
    magnitude = np.sqrt((signal + real) ** 2 + imaginary**2)
    return np.where(tissues.mask, magnitude, 0).astype(np.float32)


def _interpolate_axis(volume: FloatArray, index: npt.NDArray[np.floating], axis: int) -> FloatArray:
    """Interpolate linearly along one axis, at positions inside."""
    below = np.floor(index).astype(int)
    shape = [1] * volume.ndim
    shape[axis] = -1
    weight = (index - below).astype(np.float32).reshape(shape)
    low, high = (np.take(volume, at, axis=axis) for at in (below, below + 1))
    between: FloatArray = low + weight * (high - low)
    return between


def _sample(volume: FloatArray, index: FloatArray) -> FloatArray:
    """Interpolate linearly; 0 outside."""
    sampled: FloatArray = ndimage.map_coordinates(
        volume, index, order=1, mode="constant", output=np.float32
    )
    return sampled
