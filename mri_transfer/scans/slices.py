"""SliceStack: select a scan's axial slices, window and resize them.

Everything here is a function of one scan, independent of labels and of the cohort. A slice's image
has the patient's front at the top and the patient's left on the left.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT, digest, spec_dict
from mri_transfer.core.store import TensorStore
from mri_transfer.errors import SliceError

if TYPE_CHECKING:
    from mri_transfer.scans.volumes import Volume

__all__ = [
    "SliceSpec",
    "SliceStack",
    "SliceStore",
    "cut_slices",
    "head_mask",
    "plan_slices",
    "shannon_entropy_bits",
    "slices_key",
]

FloatArray = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]

_SCHEMA = "mri-transfer/slices/1"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SliceSpec:
    """Which axial slices to use, and how each becomes a square 8-bit image."""

    n_slices: int = Field(default=32, ge=1, le=512)
    """Slices per scan."""
    selection: Literal["extent", "entropy", "window"] = "extent"
    """`extent`: evenly over the height of the head in millimetres; `entropy`: the slices whose
    grey-level histogram has the highest entropy (as published); `window`: evenly over
    `window_mm`."""
    min_area_fraction: float = Field(default=0.3, ge=0.0, le=1.0)
    """`extent`: the height of the head covers slices whose head area is at least this fraction of
    the largest slice's, which excludes the top of the skull and the end of the neck."""
    window_mm: tuple[float, float] | None = None
    """`window`: lowest and highest slice position (world z, mm)."""
    intensity: Literal["percentile", "minmax"] = "percentile"
    """`percentile`: one window per scan, from percentiles inside the head; `minmax`: each slice is
    scaled from its own minimum to its own maximum (as published)."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """`percentile`: the percentiles inside the head that map to black and white."""
    aspect: Literal["keep", "stretch"] = "keep"
    """`keep`: pad to a square with isotropic pixels; `stretch`: stretch the matrix to a square."""
    size_px: int = Field(default=224, ge=32, le=1024)
    """Width and height of the image, in pixels."""

    @model_validator(mode="after")
    def _check(self) -> SliceSpec:
        if (self.selection == "window") != (self.window_mm is not None):
            raise ValueError("selection 'window' requires window_mm = [low, high], and vice versa")
        if self.window_mm is not None and not self.window_mm[0] < self.window_mm[1]:
            raise ValueError("window_mm must be ascending: [lowest, highest] in mm")
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError("percentiles must be ascending, between 0 and 100")
        return self


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlicePlan:
    """Selected positions along a volume's third axis.

    Attributes
    ----------
    z_index : ndarray of float64, shape (n_slices,)
        Positions in voxels, ascending; fractional positions are interpolated linearly.
    z_mm : ndarray of float64, shape (n_slices,)
        The same positions in world millimetres, at the centre of the slice.
    """

    z_index: npt.NDArray[np.float64]
    z_mm: npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceStack:
    """The slices of one scan, ready for a trunk.

    Attributes
    ----------
    scan_id : str
        The scan.
    pixels : ndarray of uint8, shape (n_slices, size_px, size_px)
        Rows run from front to back, columns from the patient's left to right.
    z_mm : ndarray of float32, shape (n_slices,)
        World height of each slice in millimetres, ascending.
    """

    scan_id: str
    pixels: UInt8Array
    z_mm: FloatArray

    @classmethod
    def blank(cls, spec: SliceSpec) -> SliceStack:
        """Return black slices in the shape of a spec, for timing."""
        shape = (spec.n_slices, spec.size_px, spec.size_px)
        z_mm = np.arange(spec.n_slices, dtype=np.float32)
        return cls(scan_id="blank", pixels=np.zeros(shape, dtype=np.uint8), z_mm=z_mm)


class SliceStore(TensorStore):
    """Slice stacks, addressed by `slices_key`."""

    kind = "slices"
    schema = _SCHEMA

    def put(self, key: str, stack: SliceStack) -> None:
        """Store a stack."""
        self._write(key, {"pixels": stack.pixels, "z_mm": stack.z_mm})

    def get(self, key: str, *, scan_id: str) -> SliceStack:
        """Read a stack; raises StoreError if the entry is invalid."""
        tensors = self._read(key)
        return SliceStack(scan_id=scan_id, pixels=tensors["pixels"], z_mm=tensors["z_mm"])


def slices_key(*, volume_key: str, spec: SliceSpec) -> str:
    """Return the key of a scan's slices, from its prepared volume's key and the Spec.

    Parameters
    ----------
    volume_key : str
        `preparation.prepared_key`, or the SHA-256 of a scan that passed through unchanged.
    spec : SliceSpec
    """
    return digest({"kind": "slices/1", "scan": volume_key, "slices": spec_dict(spec)})


def head_mask(voxels: FloatArray) -> npt.NDArray[np.bool_]:
    """Return the mask of the head.

    Otsu's threshold (1979) separates background and tissue; half of it includes fluid and thin
    tissue at the rim, and holes in each axial slice (ventricles, sinuses) are filled.

    Parameters
    ----------
    voxels : ndarray of float32, shape (X, Y, Z)

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    lowest = float(voxels.min())
    threshold = float(threshold_otsu(voxels.ravel()))  # type: ignore[no-untyped-call]
    mask: npt.NDArray[np.bool_] = voxels > lowest + 0.5 * (threshold - lowest)
    for k in range(mask.shape[2]):
        mask[:, :, k] = ndimage.binary_fill_holes(mask[:, :, k])
    return mask


def shannon_entropy_bits(image: UInt8Array) -> float:
    """Return the Shannon entropy of an 8-bit image's grey-level histogram, 0 to 8 bits."""
    counts = np.bincount(image.ravel(), minlength=256)
    share = counts[counts > 0] / image.size
    return float(-(share * np.log2(share)).sum())


def plan_slices(volume: Volume, spec: SliceSpec) -> SlicePlan:
    """Select the positions of a scan's slices.

    Raises
    ------
    SliceError
        If the scan has fewer usable slices than `spec.n_slices`.
    """
    return _plan(volume, spec, head_mask(volume.voxels))


def cut_slices(volume: Volume, spec: SliceSpec) -> SliceStack:
    """Cut, window and resize the slices of one scan.

    Parameters
    ----------
    volume : Volume
        Voxels (X, Y, Z) in RAS+.
    spec : SliceSpec

    Returns
    -------
    SliceStack

    Raises
    ------
    SliceError
        If the scan has fewer usable slices than `spec.n_slices`.
    """
    mask = head_mask(volume.voxels)
    plan = _plan(volume, spec, mask)
    planes = _interpolate_planes(volume.voxels, plan.z_index)
    grey = _to_grey(planes, spec, inside=volume.voxels[mask])
    images = grey.transpose(2, 1, 0)[:, ::-1, :]  # (slice, front to back, left to right)
    pixels = _to_square(images, volume.spacing_mm, spec)
    return SliceStack(scan_id=volume.scan_id, pixels=pixels, z_mm=plan.z_mm.astype(np.float32))


def _plan(volume: Volume, spec: SliceSpec, mask: npt.NDArray[np.bool_]) -> SlicePlan:
    area = mask.sum(axis=(0, 1))
    if spec.selection == "window":
        z_index = _window_positions(volume, spec, area)
    elif spec.selection == "extent":
        z_index = _extent_positions(volume, spec, area)
    else:
        z_index = _entropy_positions(volume, spec, mask, area)
    order = np.argsort(_z_mm(volume, z_index))
    return SlicePlan(z_index=z_index[order], z_mm=_z_mm(volume, z_index[order]))


def _z_mm(volume: Volume, z_index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the world height of positions along the third axis, at the centre of the slice."""
    middle = (np.array(volume.voxels.shape[:2]) - 1) / 2
    offset = volume.affine[2, :2] @ middle + volume.affine[2, 3]
    return np.asarray(volume.affine[2, 2] * z_index + offset, dtype=np.float64)


def _too_few(volume: Volume, usable: int, spec: SliceSpec, why: str) -> SliceError:
    return SliceError(
        f"too few usable axial slices: {why}",
        where=volume.scan_id,
        found=str(usable),
        expected=f"{spec.n_slices} or more",
        remedy="Use a scan that covers more of the head, or lower slices.n_slices",
    )


def _extent_positions(
    volume: Volume, spec: SliceSpec, area: npt.NDArray[np.int_]
) -> npt.NDArray[np.float64]:
    covered = np.flatnonzero((area > 0) & (area >= spec.min_area_fraction * area.max()))
    usable = int(covered[-1] - covered[0] + 1) if covered.size else 0
    if usable < spec.n_slices:
        raise _too_few(volume, usable, spec, "slices over the height of the head")
    return np.linspace(float(covered[0]), float(covered[-1]), spec.n_slices)


def _window_positions(
    volume: Volume, spec: SliceSpec, area: npt.NDArray[np.int_]
) -> npt.NDArray[np.float64]:
    assert spec.window_mm is not None  # required by SliceSpec for this selection
    z_zero, z_one = _z_mm(volume, np.array([0.0, 1.0]))
    wanted_mm = np.linspace(*spec.window_mm, spec.n_slices)
    z_index: npt.NDArray[np.float64] = (wanted_mm - z_zero) / (z_one - z_zero)
    last = len(area) - 1
    # Half a slice beyond the outermost centre is still covered by that slice.
    inside = (z_index >= -0.5) & (z_index <= last + 0.5)
    z_index = np.clip(z_index, 0, last)
    usable = int((inside & (area[np.rint(z_index).astype(int)] > 0)).sum())
    if usable < spec.n_slices:
        low, high = spec.window_mm
        raise _too_few(volume, usable, spec, f"slices in the window {low:g} to {high:g} mm")
    return z_index


def _entropy_positions(
    volume: Volume, spec: SliceSpec, mask: npt.NDArray[np.bool_], area: npt.NDArray[np.int_]
) -> npt.NDArray[np.float64]:
    candidates = np.flatnonzero(area > 0)
    if len(candidates) < spec.n_slices:
        raise _too_few(volume, len(candidates), spec, "slices with part of the head")
    grey = _to_grey(volume.voxels[:, :, candidates], spec, inside=volume.voxels[mask])
    images = np.rint(grey).astype(np.uint8)
    entropy = [shannon_entropy_bits(images[:, :, i]) for i in range(len(candidates))]
    # With a stable sort, ties go to the lower slice.
    best = np.argsort(-np.array(entropy), kind="stable")[: spec.n_slices]
    return candidates[np.sort(best)].astype(np.float64)


def _interpolate_planes(voxels: FloatArray, z_index: npt.NDArray[np.float64]) -> FloatArray:
    below = np.floor(z_index).astype(int)
    above = np.minimum(below + 1, voxels.shape[2] - 1)
    weight = (z_index - below).astype(np.float32)
    planes: FloatArray = voxels[:, :, below] * (1 - weight) + voxels[:, :, above] * weight
    return planes


def _to_grey(planes: FloatArray, spec: SliceSpec, *, inside: FloatArray) -> FloatArray:
    """Scale planes (X, Y, n) to 0..255."""
    low: Any
    high: Any
    if spec.intensity == "percentile":
        low, high = np.percentile(inside, spec.percentiles)
    else:
        low, high = planes.min(axis=(0, 1)), planes.max(axis=(0, 1))
    span = np.maximum(high - low, np.finfo(np.float32).tiny)
    grey: FloatArray = np.clip((planes - low) / span, 0, 1).astype(np.float32) * np.float32(255)
    return grey


def _to_square(
    images: FloatArray, spacing_mm: tuple[float, float, float], spec: SliceSpec
) -> UInt8Array:
    """Resize images (n, rows, columns) to squares, padded with black."""
    from monai.transforms.croppad.array import ResizeWithPadOrCrop
    from monai.transforms.spatial.array import Resize

    rows, columns = images.shape[1:]
    if spec.aspect == "stretch":
        target = (spec.size_px, spec.size_px)
    else:
        extent_mm = (rows * spacing_mm[1], columns * spacing_mm[0])
        pixel_mm = max(extent_mm) / spec.size_px
        target = (
            max(1, round(extent_mm[0] / pixel_mm)),
            max(1, round(extent_mm[1] / pixel_mm)),
        )
    shrinks = target[0] < rows or target[1] < columns
    resize: Any = Resize(spatial_size=target, mode="bilinear", anti_aliasing=shrinks)
    pad: Any = ResizeWithPadOrCrop(spatial_size=(spec.size_px, spec.size_px), mode="constant")
    square = pad(resize(np.ascontiguousarray(images)))
    values = np.clip(np.rint(np.asarray(square)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(values)
