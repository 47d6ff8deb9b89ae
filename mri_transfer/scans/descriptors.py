"""Simple descriptors of one scan, for the baselines that an image model has to beat.

There are three, each a pure function of one prepared scan: size and outline of the head, the
intensity histogram, and the voxels on a coarse grid. A model's gain over them is not explained by
size, mask, scanner contrast or what a linear model learns from voxels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mri_transfer.core.specs import digest, spec_dict
from mri_transfer.core.store import TensorStore
from mri_transfer.scans.slices import SliceSpec, SliceStack, head_mask, plan_slices
from mri_transfer.scans.volumes import Volume

__all__ = ["DescriptorStore", "ScanDescriptors", "descriptor_key", "describe"]

FloatArray = npt.NDArray[np.float32]

_SCHEMA = "mri-transfer/descriptors/1"

#: The grid of `voxels`: the template's field of view, in RAS mm.
GRID_MM = 4.0
_LOW_MM, _HIGH_MM = (-92.0, -128.0, -72.0), (92.0, 92.0, 108.0)
_HISTOGRAM_BINS = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanDescriptors:
    """Descriptors of a scan.

    Attributes
    ----------
    outline : ndarray of float32, shape (1 + 5 * n_slices,)
        Volume of the foreground in ml; then, for each slice, its area in mm², width and depth of
        its bounding box and its perimeter in mm, and its solidity. Independent of intensities.
    histogram : ndarray of float32, shape (32,)
        Relative frequencies of the foreground's grey values, as input to the trunk, averaged over
        slices. Independent of position.
    voxels : ndarray of float32, shape (X, Y, Z)
        The scan on a 4 mm grid over the template's field of view, smoothed to that grid and
        divided by the mean of the foreground.
    """

    outline: FloatArray
    histogram: FloatArray
    voxels: FloatArray


def descriptor_key(*, volume_key: str, slices: SliceSpec) -> str:
    """Return the key of a scan's descriptors."""
    return digest({"kind": _SCHEMA, "volume": volume_key, "slices": spec_dict(slices)})


def describe(volume: Volume, stack: SliceStack, slices: SliceSpec) -> ScanDescriptors:
    """Describe one prepared scan.

    Parameters
    ----------
    volume : Volume
        float32 (X, Y, Z) in RAS+, prepared.
    stack : SliceStack
        The slices cut from it.
    slices : SliceSpec
        How they were cut.
    """
    foreground = head_mask(volume.voxels)
    return ScanDescriptors(
        outline=_outline(volume, foreground, slices),
        histogram=_histogram(stack),
        voxels=_coarse(volume, foreground),
    )


def _outline(volume: Volume, foreground: npt.NDArray[np.bool_], slices: SliceSpec) -> FloatArray:
    from skimage.measure import regionprops

    spacing = volume.spacing_mm
    millilitres = float(foreground.sum() * np.prod(spacing)) / 1000
    numbers = [millilitres]
    for z in np.rint(plan_slices(volume, slices).z_index).astype(int):
        plane = foreground[:, :, z].astype(np.uint8)
        regions = regionprops(plane, spacing=spacing[:2])  # type: ignore[no-untyped-call]
        if not regions:
            numbers += [0.0] * 5
            continue
        region = regions[0]
        rows, columns = region.slice
        numbers += [
            float(region.area),
            float((rows.stop - rows.start) * spacing[0]),
            float((columns.stop - columns.start) * spacing[1]),
            _perimeter_mm(plane, spacing[:2]),
            float(region.solidity),
        ]
    return np.array(numbers, dtype=np.float32)


def _perimeter_mm(plane: npt.NDArray[np.uint8], spacing_mm: tuple[float, ...]) -> float:
    """Return the length of the edges between foreground and background, in mm."""
    padded = np.pad(plane, 1).astype(np.int8)
    across = np.abs(np.diff(padded, axis=0)).sum() * spacing_mm[1]
    along = np.abs(np.diff(padded, axis=1)).sum() * spacing_mm[0]
    return float(across + along)


def _histogram(stack: SliceStack) -> FloatArray:
    edges = np.linspace(0.5, 255.5, _HISTOGRAM_BINS + 1)
    shares = []
    for image in stack.pixels:
        counts = np.histogram(image, bins=edges)[0]
        shares.append(counts / max(1, counts.sum()))
    return np.asarray(np.mean(shares, axis=0), dtype=np.float32)


def _coarse(volume: Volume, foreground: npt.NDArray[np.bool_]) -> FloatArray:
    from scipy import ndimage

    mean = float(volume.voxels[foreground].mean()) if foreground.any() else 1.0
    # A Gaussian of the grid's width prevents aliasing.
    sigma = [0.425 * GRID_MM / spacing for spacing in volume.spacing_mm]
    smooth = ndimage.gaussian_filter(volume.voxels, sigma, mode="constant")
    to_index = np.linalg.inv(volume.affine)
    shape = [round((high - low) / GRID_MM) + 1 for low, high in zip(_LOW_MM, _HIGH_MM, strict=True)]
    coarse = ndimage.affine_transform(
        smooth,
        to_index[:3, :3] * GRID_MM,
        offset=to_index[:3, :3] @ np.array(_LOW_MM) + to_index[:3, 3],
        output_shape=tuple(shape),
        order=1,
        mode="constant",
    )
    return np.asarray(coarse / mean, dtype=np.float32)


class DescriptorStore(TensorStore):
    """Descriptors, addressed by `descriptor_key`."""

    kind = "descriptors"
    schema = _SCHEMA

    def put(self, key: str, descriptors: ScanDescriptors) -> None:
        """Store a scan's descriptors."""
        names = ("outline", "histogram", "voxels")
        self._write(key, {name: getattr(descriptors, name) for name in names})

    def get(self, key: str) -> ScanDescriptors:
        """Read a scan's descriptors; raises StoreError if the entry is invalid."""
        return ScanDescriptors(**self._read(key))
