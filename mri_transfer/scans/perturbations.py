"""Perturbations: what scanners and patients do to a scan, in graded and physical amounts.

Each is a function of one scan and a seed. It acts on the prepared volume, on its own grid, so that
a registration or a brain mask that fails on a bad scan is not part of what is measured here: the
`quality` module judges that. What was background stays background: noise or ghosts outside a
masked brain would be seen as a head. Volumes that end inside the head (slabs) are taken to go on
unchanged beyond their ends, as nothing is known of what lies there.
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

#: Raise when the same volume, perturbation and seed would give other voxels.
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
#: Times at which the head moves, and how far they may stray, over the time of the scan.
_MOVEMENTS, _STRAY = 4, 0.3
#: Highest total power of the polynomial that makes the bias field.
_BIAS_ORDER = 3
#: Millimetres in which the field's polynomial is written: about half a brain.
_BIAS_UNIT_MM = 90.0
#: The intensity of the brightest tissue: this percentile inside the head.
_BRIGHT_PERCENTILE = 95.0
#: What a slab is continued by at each end while it is worked on.
_MARGIN_MM = 16.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Perturbation:
    """What is done to a scan, and how much of it."""

    kind: PerturbationKind
    """`motion`: the head moves while the scan is taken; `noise`: Rician noise; `bias`: smooth
    shading; `thickness`: thicker axial slices; `resolution`: larger voxels; `offset`: slices cut
    higher or lower; `gamma`: other contrast; `rotation`: a head that lies askew."""
    level: float = Field(gt=0, allow_inf_nan=False)
    """How much, in `unit`."""

    @model_validator(mode="after")
    def _check(self) -> Perturbation:
        if self.kind == "bias" and self.level >= 200:
            raise ValueError("a bias field of 200 % would leave no signal: stay below")
        return self

    @property
    def unit(self) -> str:
        """The unit of `level`."""
        return _UNITS[self.kind]

    @property
    def name(self) -> str:
        """Kind, level and unit in words, such as ``noise, 3 % of the brightest tissue``."""
        return f"{self.kind}, {self.level:g} {self.unit}"


def default_perturbations() -> tuple[Perturbation, ...]:
    """Return three levels of each kind: mild, moderate and severe.

    ==========  =====  ========  ======  ====================================================
    kind        mild   moderate  severe  unit
    ==========  =====  ========  ======  ====================================================
    motion      1      3         6       mm and degrees a movement, at most, on each axis
    noise       3      5         9       % of the brightest tissue (standard deviation)
    bias        20     40        80      % between the darkest and the brightest place
    thickness   2      3         5       mm between and through axial slices
    resolution  1.5    2         3       mm, all three axes
    offset      1      3         6       mm up or down
    gamma       1.1    1.3       1.6     exponent, or its inverse
    rotation    2      4         8       degrees about an axis in space
    ==========  =====  ========  ======  ====================================================

    Noise and bias are graded as in the simulated brains of BrainWeb (Kwan, Evans and Pike 1999,
    IEEE TMI 18:1085-1097), where noise goes to 9 % and fields to 40 %.
    """
    return tuple(
        Perturbation(kind=kind, level=level)
        for kind in get_args(PerturbationKind)
        for level in _LEVELS[kind]
    )


def perturbed_key(*, volume_key: str, perturbation: Perturbation, seed: int) -> str:
    """Return the key of a perturbed volume: the volume's own and what was done to it.

    Parameters
    ----------
    volume_key : str
        `preparation.prepared_key`, or the SHA-256 of a scan that passed through preparation.
    perturbation : Perturbation
    seed : int
        The run's.
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
    """Return the seed of a scan's draw.

    It hangs on the scan's content, the kind and the run's seed, on no other scan and no state.
    The levels of a kind share it: they differ in degree alone.
    """
    return int(digest([_VERSION, volume_key, perturbation.kind, seed])[:12], 16)


def perturb(volume: Volume, perturbation: Perturbation, *, seed: int) -> Volume:
    """Return a volume as it would have been under a perturbation, on the same grid.

    Parameters
    ----------
    volume : Volume
        A prepared scan, axes in RAS+.
    perturbation : Perturbation
    seed : int
        Draws what the level leaves open: when and how the head moves, the noise, the shape of the
        field, up or down, brighter or darker. The same seed gives the same bytes.

    Returns
    -------
    Volume
        The lowest value of the volume, its background, keeps its place, but under `offset` and
        `rotation`, which move it along with the head.

    Notes
    -----
    A shifted slab of 32 slices remains one of 32 slices: those that leave it at one end are lost,
    and at the other end the last one is repeated.
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

    The positions are found anew on the perturbed volume, as they would be for such a scan. Only
    under `offset` they stay where the unperturbed volume has them: evenly spread slices follow
    the head, which would undo the shift. The published choice by entropy always follows it.

    Parameters
    ----------
    volume : Volume
    perturbation : Perturbation
    spec : SliceSpec
    seed : int

    Raises
    ------
    SliceError
        If the perturbed scan offers too few slices.
    """
    if perturbation.kind == "offset" and spec.selection == "extent":
        z_mm = plan_slices(volume, spec).z_mm
        window = (float(z_mm[0]), float(z_mm[-1]))
        spec = dataclasses.replace(spec, selection="window", window_mm=window)
    return cut_slices(perturb(volume, perturbation, seed=seed), spec)


def _motion(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    """Fill k-space from the head at several places (Shaw et al. 2019, MIDL, PMLR 102:427-436).

    The slow axis, along which places change with time, is the one from front to back: a common
    phase encoding direction, and one that no slab cuts short.
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
    """Add noise as magnitude images have it (Gudbjartsson and Patz 1995, MRM 34:910-914)."""
    lowest, bright = _range(volume.voxels)
    deviation = level / 100 * (bright - lowest)
    real, imaginary = deviation * rng.standard_normal((2, *volume.voxels.shape), dtype=np.float32)
    noisy: FloatArray = np.hypot(volume.voxels - lowest + real, imaginary) + lowest
    return noisy


def _bias(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    """Multiply by the exponential of a polynomial, scaled to the level's span inside the head.

    As in TorchIO, but in millimetres from the volume's middle: fields are as smooth through a
    slab as they are along it.
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
    """Down to larger voxels, each an average of what it covers, and back, linearly."""
    import torchio as tio

    # A grid is never made finer than it is: that would add nothing and cost time.
    x, y, z = map(max, spacing_mm, volume.spacing_mm)
    return _by_torchio(volume, [tio.Resample(target=(x, y, z), antialias=True)])


def _offset(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    from scipy import ndimage

    shift = rng.choice([-1.0, 1.0]) * level / volume.spacing_mm[2]
    moved: FloatArray = ndimage.shift(volume.voxels, (0, 0, shift), order=1, mode="nearest")
    return moved


def _gamma(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    lowest, bright = _range(volume.voxels)
    exponent = level ** rng.choice([-1.0, 1.0])
    scaled = (volume.voxels - lowest) / (bright - lowest)
    contrast: FloatArray = scaled**exponent * (bright - lowest) + lowest
    return contrast


def _rotation(volume: Volume, level: float, rng: np.random.Generator) -> FloatArray:
    from scipy import ndimage
    from scipy.spatial.transform import Rotation

    axis = rng.standard_normal(3)
    turn = Rotation.from_rotvec(level * axis / np.linalg.norm(axis), degrees=True).as_matrix()
    spacing = np.array(volume.spacing_mm)
    # From voxels to millimetres, turned, and back to voxels, about the middle of the head.
    matrix = turn * spacing / spacing[:, None]
    middle = np.argwhere(volume.voxels > volume.voxels.min()).mean(axis=0)
    turned: FloatArray = ndimage.affine_transform(
        volume.voxels, matrix, offset=middle - matrix @ middle, order=1, mode="nearest"
    )
    return turned


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


def _range(voxels: FloatArray) -> tuple[float, float]:
    """Return the background's value and that of the brightest tissue."""
    lowest = float(voxels.min())
    return lowest, float(np.percentile(voxels[voxels > lowest], _BRIGHT_PERCENTILE))


def _by_torchio(volume: Volume, transforms: Sequence[Any], *, last_axis: int = 2) -> FloatArray:
    """Apply transforms of TorchIO, and return to the volume's grid.

    Parameters
    ----------
    volume : Volume
    transforms : sequence
    last_axis : int
        The axis to hand over as the last one, along which motion is spread over time.
    """
    import torchio as tio

    lowest = volume.voxels.min()
    in_head = (volume.voxels[:, :, [0, -1]] > lowest).any()
    margin = round(_MARGIN_MM / volume.spacing_mm[2]) if in_head else 0
    order = [axis for axis in range(3) if axis != last_axis] + [last_axis]
    wide = np.pad(volume.voxels - lowest, ((0, 0), (0, 0), (margin, margin)), mode="edge")
    voxels = np.ascontiguousarray(wide.transpose(order))
    affine = np.diag([*np.array(volume.spacing_mm)[order], 1.0])
    # TorchIO moves heads about the world's origin.
    affine[:3, 3] = -affine[:3, :3] @ np.argwhere(voxels > 0).mean(axis=0)
    make: Any = tio.ScalarImage
    subject = tio.Subject(scan=make(tensor=voxels[None], affine=affine))
    for transform in [*transforms, tio.Resample(target=(voxels.shape, affine))]:
        # Calling a transform would draw from torch's global generator.
        subject = transform.apply_transform(subject)
    result = subject.scan.numpy()[0].transpose(np.argsort(order))
    inner: FloatArray = result[:, :, margin : margin + volume.voxels.shape[2]] + lowest
    return inner
