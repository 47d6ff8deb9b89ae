"""Measures of a scan: sampling, content and grey levels.

Nothing here needs the template or an upright brain: a slab that lies turned is measured as well.
Most numbers are of the slices as the trunk sees them, whatever way they came about.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.pose import TURN_WORDS
from mri_transfer.scans.quality import ScanScores
from mri_transfer.scans.slices import SliceSpec, SliceStack, head_mask

__all__ = ["MEASURES", "Measure", "grey_distance", "measure_input", "turn_words"]

FloatArray = npt.NDArray[np.float64]

#: Below this depth under the brain's outline lies mostly white matter; nearer than this, mostly
#: cortex and fluid.
_DEEP_MM, _RIM_MM = 12.0, (2.0, 8.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of a scan, and how far it may lie outside the range of training scans.

    Attributes
    ----------
    name, title, unit : str
    margin : float
        The least distance outside the training scans' range that is too far.
    digits : int
        After the point, in a text.
    side : {"both", "low", "high"}
        On which side a number can be wrong.
    meaning : str
        What a number out of range points to.
    """

    name: str
    title: str
    unit: str = ""
    margin: float = 0.0
    digits: int = 2
    side: Literal["both", "low", "high"] = "both"
    meaning: str


_EXTENT = (
    "a part of the brain outside the field of view, skull left on, another contrast, or a wrong "
    "header"
)

#: In the order of a table.
MEASURES = (
    Measure(
        name="voxel_mm",
        title="Longest edge of a voxel",
        unit="mm",
        margin=0.1,
        meaning="another resolution, or a wrong header",
    ),
    Measure(
        name="field_mm",
        title="Edge of the slices' pictures",
        unit="mm",
        margin=5.0,
        digits=0,
        meaning="another matrix or voxel size: the brain is drawn at another scale",
    ),
    Measure(
        name="z_low_mm",
        title="Height of the lowest slice",
        unit="mm",
        margin=4.0,
        digits=0,
        meaning="another part of the brain",
    ),
    Measure(
        name="z_high_mm",
        title="Height of the highest slice",
        unit="mm",
        margin=4.0,
        digits=0,
        meaning="another part of the brain",
    ),
    Measure(
        name="area_cm2",
        title="Mean area of the brain in a slice",
        unit="cm\u00b2",
        digits=0,
        meaning=_EXTENT,
    ),
    Measure(
        name="width_mm",
        title="Width of the brain",
        unit="mm",
        margin=2.0,
        digits=0,
        meaning=_EXTENT,
    ),
    Measure(
        name="depth_mm",
        title="Length of the brain from front to back",
        unit="mm",
        margin=2.0,
        digits=0,
        meaning=_EXTENT,
    ),
    Measure(
        name="smallest_slice",
        title="Brain in the emptiest slice, against the mean",
        side="low",
        meaning="slices that are empty or cut off",
    ),
    Measure(
        name="deep_to_rim",
        title="Signal deep in the brain, against its rim",
        meaning="another contrast than T1, or a strong bias field",
    ),
    Measure(
        name="grey_distance",
        title="Distance of the grey values from training scans'",
        side="high",
        meaning="another contrast than T1, or greys cut off or turned round",
    ),
    Measure(
        name="grain",
        title="Grain: change between neighbouring pixels, against the signal",
        digits=3,
        meaning="noise or another contrast above the range, blur below it",
    ),
    Measure(
        name="slice_likeness",
        title="Lowest likeness of neighbouring slices",
        side="low",
        meaning="noise, or slices that were lost, moved or mixed up",
    ),
    Measure(
        name="grey_levels",
        title="Distinct grey values",
        margin=32.0,
        digits=0,
        side="low",
        meaning="greys that were lost in a conversion",
    ),
)


def measure_input(
    stack: SliceStack,
    scores: ScanScores,
    *,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    spec: SliceSpec,
) -> Mapping[str, float]:
    """Measure a scan; what is not defined on it is left out.

    Parameters
    ----------
    stack : SliceStack
    scores : ScanScores
        Of the quality of the same scan.
    shape, spacing_mm
        Matrix and voxels of the volume that the slices were cut from.
    spec : SliceSpec
        What they were cut by.
    """
    pixel_mm = _pixel_mm(shape, spacing_mm, spec)
    pixels = stack.pixels.astype(np.float32)
    mask = head_mask(pixels.transpose(1, 2, 0)).transpose(2, 0, 1)
    area = mask.sum(axis=(1, 2)) * pixel_mm[0] * pixel_mm[1] / 100
    seen: npt.NDArray[np.bool_] = np.any(mask, axis=0)
    found: dict[str, float | None] = {
        "voxel_mm": scores.values.get("spacing_mm"),
        "field_mm": float(max(n * mm for n, mm in zip(shape[:2], spacing_mm[:2], strict=True))),
        "z_low_mm": float(stack.z_mm[0]),
        "z_high_mm": float(stack.z_mm[-1]),
        "area_cm2": float(area.mean()),
        "width_mm": float(np.any(seen, axis=0).sum() * pixel_mm[1]),
        "depth_mm": float(np.any(seen, axis=1).sum() * pixel_mm[0]),
        "smallest_slice": float(area.min() / area.mean()) if area.any() else 0.0,
        "deep_to_rim": _deep_to_rim(pixels, mask, pixel_mm),
        "grain": _grain(pixels, mask),
        "slice_likeness": scores.values.get("slice_break"),
        "grey_levels": scores.values.get("grey_levels"),
    }
    return {name: float(f"{value:.6g}") for name, value in found.items() if value is not None}


def turn_words(turn: int, *, passed_through: bool) -> str:
    """Return how a head lies against its header; empty if they agree, or it was put right."""
    return TURN_WORDS[turn] if passed_through else ""


def grey_distance(histogram: Sequence[float], middle: npt.NDArray[np.float64]) -> float:
    """Return the earth mover's distance between two histograms of shares, in bins.

    The earth mover's distance in one dimension: the area between the two distributions.
    """
    return float(np.abs(np.cumsum(np.asarray(histogram) - middle)).sum())


def _pixel_mm(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], spec: SliceSpec
) -> tuple[float, float]:
    """Return the height and the width of a picture's pixel."""
    width, height = (n * mm for n, mm in zip(shape[:2], spacing_mm[:2], strict=True))
    if spec.aspect == "keep":
        width = height = max(width, height)
    return height / spec.size_px, width / spec.size_px


def _deep_to_rim(
    pixels: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], pixel_mm: tuple[float, float]
) -> float | None:
    from scipy import ndimage

    deep, rim = [], []
    for picture, inside in zip(pixels[::2], mask[::2], strict=True):
        depth = ndimage.distance_transform_edt(inside, sampling=pixel_mm)
        deep.append(picture[depth > _DEEP_MM])
        rim.append(picture[(depth > _RIM_MM[0]) & (depth < _RIM_MM[1])])
    inner, outer = np.concatenate(deep), np.concatenate(rim)
    if not inner.size or not outer.size or not outer.any():
        return None
    return float(inner.mean() / outer.mean())


def _grain(pixels: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> float | None:
    """Return the mean distance of a pixel from its neighbours' mean, over the mean signal."""
    around = sum(np.roll(pixels, step, axis=axis) for axis in (1, 2) for step in (1, -1))
    core = mask.copy()
    for axis in (1, 2):
        for step in (1, -1):
            core &= np.roll(mask, step, axis=axis)
    signal = pixels[core]
    if not signal.size or not signal.any():
        return None
    return float(np.abs(signal - np.asarray(around)[core] / 4).mean() / signal.mean())
