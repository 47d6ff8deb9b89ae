"""Perturbations: image degradations by scanner and patient, graded in physical units.

Each is a function of one scan and a seed. It acts on the prepared volume, on the same grid, so that
failures of registration or brain masking on a bad scan are not measured here; the `quality` module
detects them. Background stays background, as noise or ghosts outside a masked brain would be
segmented as head. Volumes that end inside the head (slabs) are continued with their last slice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT, digest, spec_dict
from mri_transfer.scans.slices import SliceSpec, SliceStack, cut_slices, plan_slices
from mri_transfer.scans.volumes import Volume

__all__ = [
    "Perturbation",
    "PerturbationKind",
    "cut_perturbed",
    "default_perturbations",
    "intensity_range",
    "perturb",
    "perturbation_seed",
    "perturbed_key",
]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
PerturbationKind: TypeAlias = Literal[
    "motion", "noise", "bias", "thickness", "resolution", "offset", "gamma", "rotation"
]

#: Increment when the same volume, perturbation and seed would give other voxels.
_VERSION = "perturbed/1"

_UNITS: dict[PerturbationKind, str] = {
    "motion": "mm and degrees",
    "noise": "% of the brightest tissue",
    "bias": "% from darkest to brightest",
    "thickness": "mm slice thickness",
    "resolution": "mm voxel size",
    "offset": "mm",
    "gamma": "exponent",
    "rotation": "degrees",
}
#: Mild, moderate and severe.
_LEVELS: dict[PerturbationKind, tuple[float, float, float]] = {
    "motion": (1.0, 3.0, 6.0),
    "noise": (3.0, 5.0, 9.0),
    "bias": (20.0, 40.0, 80.0),
    "thickness": (2.0, 3.0, 5.0),
    "resolution": (1.5, 2.0, 3.0),
    "offset": (1.0, 3.0, 6.0),
    "gamma": (1.1, 1.3, 1.6),
    "rotation": (2.0, 4.0, 8.0),
}
#: Number of head movements, and the jitter of their times, in steps between movements.
_MOVEMENTS, _STRAY = 4, 0.3
#: Total degree of the bias field's polynomial.
_BIAS_ORDER = 3
#: Unit of the polynomial's coordinates in millimetres: about half a brain.
_BIAS_UNIT_MM = 90.0
#: The intensity of the brightest tissue: this percentile inside the head.
_BRIGHT_PERCENTILE = 95.0
#: Length by which a slab is temporarily continued at each end.
_MARGIN_MM = 16.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Perturbation:
    """Kind and level of a perturbation."""

    kind: PerturbationKind
    """`motion`: head motion during the scan; `noise`: Rician noise; `bias`: smooth shading;
    `thickness`: thicker axial slices; `resolution`: larger voxels; `offset`: slices cut higher or
    lower; `gamma`: different contrast; `rotation`: a rotated head."""
    level: float = Field(gt=0, allow_inf_nan=False)
    """Severity, in `unit`."""

    @model_validator(mode="after")
    def _check(self) -> Perturbation:
        if self.kind == "bias" and self.level >= 200:
            raise ValueError("a bias field must be below 200 %, which would leave no signal")
        return self

    @property
    def unit(self) -> str:
        """The unit of `level`."""
        return _UNITS[self.kind]

    @property
    def name(self) -> str:
        """Kind, level and unit as text, such as ``noise, 3 % of the brightest tissue``."""
        return f"{self.kind}, {self.level:g} {self.unit}"


def default_perturbations() -> tuple[Perturbation, ...]:
    """Return three levels of each kind: mild, moderate and severe.

    ==========  =====  ========  ======  ====================================================
    kind        mild   moderate  severe  unit
    ==========  =====  ========  ======  ====================================================
    motion      1      3         6       mm and degrees at most, per movement and axis
    noise       3      5         9       % of the brightest tissue (standard deviation)
    bias        20     40        80      % between darkest and brightest position
    thickness   2      3         5       mm between and through axial slices
    resolution  1.5    2         3       mm, all three axes
    offset      1      3         6       mm up or down
    gamma       1.1    1.3       1.6     exponent, or its inverse
    rotation    2      4         8       degrees about an axis in space
    ==========  =====  ========  ======  ====================================================

    Noise and bias are graded as in BrainWeb (Kwan, Evans and Pike 1999, IEEE TMI 18:1085-1097),
    where noise goes up to 9 % and bias fields up to 40 %.
    """
    return tuple(
        Perturbation(kind=kind, level=level)
        for kind in get_args(PerturbationKind)
        for level in _LEVELS[kind]
    )


def perturbed_key(*, volume_key: str, perturbation: Perturbation, seed: int) -> str:
    """Return the key of a perturbed volume.

    Parameters
    ----------
    volume_key : str
        `preparation.prepared_key`, or the SHA-256 of a scan that passed through unchanged.
    perturbation : Perturbation
    seed : int
        The run's seed.
    """
    return digest(
        {
            "kind": _VERSION,
            "volume": volume_key,
            "perturbation": spec_dict(perturbation),
            "seed": seed,
        }
    )


def perturbation_seed(*, volume_key: str, perturbation: Perturbation, seed: int) -> int:
    """Return the seed for one scan.

    It depends on the scan's content, the kind and the run's seed, not on other scans or on global
    state. The levels of a kind share it, so that they differ only in degree.
    """
    return int(digest([_VERSION, volume_key, perturbation.kind, seed])[:12], 16)


def perturb(volume: Volume, perturbation: Perturbation, *, seed: int) -> Volume:
    """Apply a perturbation to a volume, on the same grid.

    Parameters
    ----------
    volume : Volume
        A prepared scan, axes in RAS+.
    perturbation : Perturbation
    seed : int
        Determines what the level leaves open: times and directions of movement, the noise, the
        shape of the field, up or down, brighter or darker. The same seed gives the same bytes.

    Returns
    -------
    Volume
        The background (the lowest value) does not change, except under `offset` and `rotation`,
        which move it with the head.

    Notes
    -----
    A shifted slab keeps its number of slices: slices shifted out at one end are lost, and the last
    one is repeated at the other end.
    """
    rng = np.random.default_rng(seed)
    voxels = _PERTURB[perturbation.kind](volume, perturbation.level, rng)
    lowest = volume.voxels.min()
    voxels = np.maximum(voxels, lowest).astype(np.float32)
    if perturbation.kind not in ("offset", "rotation"):
        voxels[volume.voxels <= lowest] = lowest
    return dataclasses.replace(volume, voxels=voxels)


def cut_perturbed(
    volume: Volume, perturbation: Perturbation, spec: SliceSpec, *, seed: int
) -> SliceStack:
    """Perturb a volume and cut its slices.

    Slice positions are recomputed on the perturbed volume, as for any scan, except under `offset`:
    evenly spaced slices would follow the head and undo the shift, so that the positions of the
    unperturbed volume are kept. The published selection by entropy always follows the head.

    Parameters
    ----------
    volume : Volume
    perturbation : Perturbation
    spec : SliceSpec
    seed : int

    Raises
    ------
    SliceError
        If the perturbed scan has too few slices.
    """
    if perturbation.kind == "offset" and spec.selection == "extent":
        z_mm = plan_slices(volume, spec).z_mm
        window = (float(z_mm[0]), float(z_mm[-1]))
        spec = dataclasses.replace(spec, selection="window", window_mm=window)
    return cut_slices(perturb(volume, perturbation, seed=seed), spec)


def _motion(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    """Compose k-space from several head positions (Shaw et al. 2019, MIDL, PMLR 102:427-436).

    The slow axis, along which the position changes with time, is anterior-posterior: a common phase
    encoding direction, and one that is complete in every slab.
    """
    import torchio as tio

    degrees, translation = level * rng.uniform(-1, 1, size=(2, _MOVEMENTS, 3))
    step = 1 / (_MOVEMENTS + 1)
    times = step * (np.arange(1, _MOVEMENTS + 1) + rng.uniform(-_STRAY, _STRAY, _MOVEMENTS))
    motion = tio.Motion(
        degrees=degrees, translation=translation, times=times, image_interpolation="linear"
    )
    return _by_torchio(volume, [motion], last_axis=1)


def _noise(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    """Add the noise of magnitude images (Gudbjartsson and Patz 1995, MRM 34:910-914)."""
    lowest, bright = intensity_range(volume.voxels)
    deviation = level / 100 * (bright - lowest)
    real, imaginary = deviation * rng.standard_normal((2, *volume.voxels.shape), dtype=np.float32)
    noisy: FloatArray = np.hypot(volume.voxels - lowest + real, imaginary) + lowest
    return noisy


def _bias(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    """Multiply by the exponential of a polynomial, scaled to the level's range inside the head.

    As in TorchIO, but in millimetres from the volume's centre, so that fields in a slab are equally
    smooth along all axes.
    """
    powers = np.indices((_BIAS_ORDER + 1,) * 3).sum(axis=0)
    coefficients = rng.uniform(-1, 1, powers.shape)
    coefficients[(powers == 0) | (powers > _BIAS_ORDER)] = 0
    x, y, z = (
        (np.arange(n) - (n - 1) / 2) * mm / _BIAS_UNIT_MM
        for n, mm in zip(volume.voxels.shape, volume.spacing_mm, strict=True)
    )
    log_field = np.polynomial.polynomial.polygrid3d(x, y, z, coefficients)
    lowest = volume.voxels.min()
    inside = log_field[volume.voxels > lowest]
    span = np.log((200 + level) / (200 - level))
    field = np.exp((log_field - inside.mean()) * span / np.ptp(inside))
    shaded: FloatArray = (volume.voxels - lowest) * field.astype(np.float32) + lowest
    return shaded


def _thickness(volume: Volume, level: float, _rng: np.random.Generator) -> FloatArray:
    return _resampled(volume, (*volume.spacing_mm[:2], level))


def _resolution(volume: Volume, level: float, _rng: np.random.Generator) -> FloatArray:
    return _resampled(volume, (level, level, level))


def _resampled(volume: Volume, spacing_mm: tuple[float, float, float]) -> FloatArray:
    """Resample to larger voxels, with antialiasing, and back linearly."""
    import torchio as tio

    # Upsampling would add nothing and cost time.
    x, y, z = map(max, spacing_mm, volume.spacing_mm)
    return _by_torchio(volume, [tio.Resample(target=(x, y, z), antialias=True)])


def _offset(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    from scipy import ndimage

    shift = rng.choice([-1.0, 1.0]) * level / volume.spacing_mm[2]
    moved: FloatArray = ndimage.shift(volume.voxels, (0, 0, shift), order=1, mode="nearest")
    return moved


def _gamma(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    lowest, bright = intensity_range(volume.voxels)
    exponent = level ** rng.choice([-1.0, 1.0])
    scaled = (volume.voxels - lowest) / (bright - lowest)
    contrast: FloatArray = scaled**exponent * (bright - lowest) + lowest
    return contrast


def _rotation(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    from scipy import ndimage
    from scipy.spatial.transform import Rotation

    axis = rng.standard_normal(3)
    rotation = Rotation.from_rotvec(level * axis / np.linalg.norm(axis), degrees=True).as_matrix()
    spacing = np.array(volume.spacing_mm)
    # From voxels to millimetres, rotated, and back to voxels, about the centre of the head.
    matrix = rotation * spacing / spacing[:, None]
    centre = np.argwhere(volume.voxels > volume.voxels.min()).mean(axis=0)
    rotated: FloatArray = ndimage.affine_transform(
        volume.voxels, matrix, offset=centre - matrix @ centre, order=1, mode="nearest"
    )
    return rotated


_PERTURB: dict[
    PerturbationKind, Callable[[Volume, float, np.random.Generator], npt.NDArray[np.floating]]
] = {
    "motion": _motion,
    "noise": _noise,
    "bias": _bias,
    "thickness": _thickness,
    "resolution": _resolution,
    "offset": _offset,
    "gamma": _gamma,
    "rotation": _rotation,
}


def intensity_range(voxels: FloatArray) -> tuple[float, float]:
    """Return the intensities of the background and of the brightest tissue.

    Parameters
    ----------
    voxels : ndarray of float32
        Of a prepared scan.
    """
    lowest = float(voxels.min())
    return lowest, float(np.percentile(voxels[voxels > lowest], _BRIGHT_PERCENTILE))


def _by_torchio(volume: Volume, transforms: Sequence[Any], *, last_axis: int = 2) -> FloatArray:
    """Apply TorchIO transforms, and resample to the volume's grid.

    Parameters
    ----------
    volume : Volume
    transforms : sequence
    last_axis : int
        The axis passed to TorchIO as the last one, along which motion is spread over time.
    """
    import torchio as tio

    lowest = volume.voxels.min()
    in_head = (volume.voxels[:, :, [0, -1]] > lowest).any()
    margin = round(_MARGIN_MM / volume.spacing_mm[2]) if in_head else 0
    order = [axis for axis in range(3) if axis != last_axis] + [last_axis]
    wide = np.pad(volume.voxels - lowest, ((0, 0), (0, 0), (margin, margin)), mode="edge")
    voxels = np.ascontiguousarray(wide.transpose(order))
    affine = np.diag([*np.array(volume.spacing_mm)[order], 1.0])
    # TorchIO rotates about the world origin.
    affine[:3, 3] = -affine[:3, :3] @ np.argwhere(voxels > 0).mean(axis=0)
    make: Any = tio.ScalarImage
    subject = tio.Subject(scan=make(tensor=voxels[None], affine=affine))
    for transform in [*transforms, tio.Resample(target=(voxels.shape, affine))]:
        # Calling the transform itself would use torch's global random generator.
        subject = transform.apply_transform(subject)
    result = subject.scan.numpy()[0].transpose(np.argsort(order))
    inner: FloatArray = result[:, :, margin : margin + volume.voxels.shape[2]] + lowest
    return inner
