"""What happens to scans on the way: each damage as a function of a whole volume in RAS+."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mri_transfer.scans.volumes import Volume

__all__ = ["DAMAGES", "Damage", "damaged"]

FloatArray = npt.NDArray[np.float32]
#: Voxels, the index of the brain's middle, the voxels' edges in mm; gives other voxels.
Damage = Callable[[FloatArray, tuple[int, int, int], tuple[float, float, float]], FloatArray]


def _slices(middle: int, edge_mm: float, thickness_mm: float) -> slice:
    half = max(1, round(thickness_mm / edge_mm / 2))
    return slice(middle - half, middle + half)


def _lost_slices(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """16 mm of axial slices hold nothing."""
    voxels[:, :, _slices(middle[2], mm[2], 16)] = 0
    return voxels


def _noisy_slices(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """16 mm of axial slices hold noise as bright as tissue."""
    where = _slices(middle[2], mm[2], 16)
    bright = np.percentile(voxels, 99)
    rng = np.random.default_rng(0)
    voxels[:, :, where] = bright * rng.random(voxels[:, :, where].shape)
    return voxels


def _empty_half(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """Nothing below the brain's middle, inside a field of view that says it is covered."""
    voxels[:, :, : middle[2]] = 0
    return voxels


def _cut_half(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """The field of view ends at the brain's middle (`damaged` moves the affine along)."""
    return voxels[:, :, middle[2] :]


def _cut_top(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """The field of view ends 35 mm above the brain's middle: the crown is missing."""
    return voxels[:, :, : middle[2] + round(35 / mm[2])]


def _inverted(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """Bright is dark and dark is bright, inside the head."""
    bright = np.percentile(voxels, 99.5)
    return np.where(voxels > 0.1 * bright, np.maximum(1.1 * bright - voxels, 0), voxels)


def _negative(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """A photographic negative, background included."""
    return voxels.max() - voxels


def _noise(share: float) -> Damage:
    def add(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
        sigma = share * np.percentile(voxels[voxels > 0.1 * voxels.max()], 75)
        real, imaginary = sigma * np.random.default_rng(0).standard_normal((2, *voxels.shape))
        return np.hypot(voxels + real, imaginary)

    return add


def _blur(sigma_mm: float) -> Damage:
    def soften(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
        return ndimage.gaussian_filter(voxels, [sigma_mm / edge for edge in mm])

    return soften


def _few_levels(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """8 grey levels."""
    return np.floor(np.clip(voxels / np.percentile(voxels, 99.9), 0, 0.999) * 8)


def _broken(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """The upper half slipped 20 mm to the right."""
    voxels[:, :, middle[2] :] = np.roll(voxels[:, :, middle[2] :], round(20 / mm[0]), axis=0)
    return voxels


def _ghosted(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """Half of the signal appears again half a field of view further back, as motion does it."""
    return voxels + 0.5 * np.roll(voxels, voxels.shape[1] // 2, axis=1)


def _one_side(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """The left half holds nothing."""
    voxels[: middle[0]] = 0
    return voxels


def _only_noise(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    return 1000 * np.random.default_rng(0).random(voxels.shape)


def _ball(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """A phantom as it is used to calibrate scanners: a ball of water of 170 mm."""
    offsets = np.meshgrid(
        *((np.arange(n) - m) * edge for n, m, edge in zip(voxels.shape, middle, mm, strict=True)),
        indexing="ij",
    )
    ball = sum(np.square(offset) for offset in offsets) < 85**2
    return 800.0 * ball + 20 * np.random.default_rng(0).random(voxels.shape)


def _without_cerebellum(
    voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]
) -> FloatArray:
    """Nothing behind and below: 27 mm behind and 33 mm below the brain's middle."""
    voxels[:, : middle[1] - round(27 / mm[1]), : middle[2] - round(33 / mm[2])] = 0
    return voxels


def _cavity(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """A ball of fluid of 56 mm in the right hemisphere."""
    at = (middle[0] + round(32 / mm[0]), middle[1], middle[2] + round(15 / mm[2]))
    offsets = np.meshgrid(
        *((np.arange(n) - m) * edge for n, m, edge in zip(voxels.shape, at, mm, strict=True)),
        indexing="ij",
    )
    ball = sum(np.square(offset) for offset in offsets) < 28**2
    return np.where(ball, 0.1 * np.percentile(voxels, 90), voxels)


def _bright_air(voxels: FloatArray, middle: tuple[int, ...], mm: tuple[float, ...]) -> FloatArray:
    """Air is brighter than fluid, as after a wrong conversion of signed numbers."""
    return np.where(voxels <= 0.02 * voxels.max(), 0.4 * np.percentile(voxels, 95), voxels)


#: By name. ``stretched_*`` doubles the voxels' edge in the header alone.
DAMAGES: dict[str, Damage | tuple[float, float, float]] = {
    "lost_slices": _lost_slices,
    "noisy_slices": _noisy_slices,
    "empty_half": _empty_half,
    "cut_half": _cut_half,
    "cut_top": _cut_top,
    "one_side": _one_side,
    "broken": _broken,
    "ghosted": _ghosted,
    "stretched_x": (2.0, 1.0, 1.0),
    "stretched_z": (1.0, 1.0, 2.0),
    "inverted": _inverted,
    "negative": _negative,
    "noise_15": _noise(0.15),
    "noise_50": _noise(0.5),
    "blur_3mm": _blur(3.0),
    "blur_6mm": _blur(6.0),
    "few_levels": _few_levels,
    "only_noise": _only_noise,
    "ball": _ball,
    "without_cerebellum": _without_cerebellum,
    "cavity": _cavity,
    "bright_air": _bright_air,
}


def damaged(volume: Volume, name: str, *, middle_mm: npt.NDArray[np.float64]) -> Volume:
    """Return a damaged copy of a scan.

    Parameters
    ----------
    volume : Volume
    name : str
        One of `DAMAGES`.
    middle_mm : ndarray of shape (3,)
        Where the middle of the brain lies, in RAS mm.
    """
    affine = volume.affine.copy()
    damage = DAMAGES[name]
    if isinstance(damage, tuple):
        affine[:3, :3] *= damage
        return Volume(voxels=volume.voxels, affine=affine, scan_id=volume.scan_id)
    at = np.linalg.solve(affine, np.append(middle_mm, 1.0))[:3]
    x, y, z = (int(index) for index in np.rint(at))
    voxels = damage(volume.voxels.copy(), (x, y, z), volume.spacing_mm)
    if name == "cut_half":
        affine[:3, 3] += affine[:3, 2] * z
    return Volume(
        voxels=np.ascontiguousarray(voxels, dtype=np.float32),
        affine=affine,
        scan_id=volume.scan_id,
    )
