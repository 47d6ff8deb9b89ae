"""Figures of attribution: over the anatomy in colour, and over the height of the head."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.explain.document import Height
from mri_transfer.report.figures.arrays import estimate_arrays
from mri_transfer.report.figures.svg import DOTTED, MUTED, NEGATIVE, POSITIVE, QUIET, draw_svg
from mri_transfer.report.figures.tiles import (
    Orientation,
    blended,
    colour_bars,
    oriented,
    write_on_tile,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "attribution_png",
    "axial_planes",
    "draw_attribution_heights",
]

FloatArray = npt.NDArray[np.floating[Any]]


def axial_planes(
    volume: FloatArray, affine: npt.NDArray[np.float64], *, n: int
) -> tuple[FloatArray, list[float]]:
    """Return planes of a volume, evenly over its height, and their heights in millimetres.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        In RAS+.
    affine : ndarray of float64, shape (4, 4)
    n : int
        Fewer where the volume has fewer.

    Returns
    -------
    planes : ndarray, shape (n, Y, X)
        Front of the head at the top, left on the left, by the header.
    z_mm : list of float
    """
    n = min(n, volume.shape[2])
    at = np.floor((np.arange(n) + 0.5) * volume.shape[2] / n).astype(int)
    planes = volume[:, :, at].transpose(2, 1, 0)[:, ::-1]
    return planes, [float(affine[2, 2] * k + affine[2, 3]) for k in at]


def attribution_png(
    pictures: FloatArray,
    maps: FloatArray,
    *,
    limits: Sequence[float],
    z_mm: Sequence[float],
    orientation: Orientation,
    columns: int,
    tile_px: int = 144,
) -> bytes:
    """Return pictures with attribution over them, row by row, as a PNG.

    On each tile stand L, R and the height, and beside the rows the scale of their colours.

    Parameters
    ----------
    pictures : ndarray, shape (n, H, W)
        Grey values 0..255; columns from the patient's left to right.
    maps : ndarray of float, shape (n, rows, columns)
        Signed, covering the whole picture; above 0 is vermilion, below 0 sky blue.
    limits : sequence of float, length n
        The size that gets the strongest colour, for each picture; the same within a row. With 0
        nothing is coloured, and there is no scale.
    z_mm : sequence of float, length n
        Height of each picture.
    orientation : {"radiological", "neurological"}
    columns : int
        Tiles a row.
    tile_px : int
        Longest edge of a tile.

    Raises
    ------
    EvaluationError
        If pictures, maps, limits and heights are not equally many, or limits differ in a row.
    """
    from PIL import Image

    rows = [list(limits[i : i + columns]) for i in range(0, len(limits), columns)]
    counts = (len(pictures), len(maps), len(limits), len(z_mm))
    if len(set(counts)) > 1 or not len(pictures) or any(len(set(row)) > 1 for row in rows):
        raise EvaluationError(
            "pictures and attributions do not fit together",
            found=f"{counts[0]} pictures, {counts[1]} maps, {counts[3]} heights, limits {rows}",
            expected="as many of each, and one limit a row",
        )
    height, width = pictures.shape[1:]
    scale = tile_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet = Image.new("RGB", (columns * size[0], math.ceil(len(maps) / columns) * size[1]))
    shown = zip(
        oriented(pictures, orientation), oriented(maps, orientation), limits, z_mm, strict=True
    )
    for i, (picture, found, limit, z) in enumerate(shown):
        tile = _tile(picture, found, limit=limit, size=size)
        write_on_tile(tile, orientation=orientation, height_mm=z)
        sheet.paste(tile, (i % columns * size[0], i // columns * size[1]))
    bars = colour_bars([row[0] for row in rows], row_px=size[1])
    stream = io.BytesIO()
    # A palette of 128 colours is a third of the size, and no eye sees the difference here.
    whole = Image.fromarray(np.concatenate([np.asarray(sheet), bars], axis=1))
    whole.quantize(128, dither=Image.Dither.NONE).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _tile(picture: FloatArray, found: FloatArray, *, limit: float, size: tuple[int, int]) -> Any:
    """Return one picture with its attribution as an RGB image of a size."""
    from PIL import Image

    grey, values = (
        np.asarray(
            Image.fromarray(np.nan_to_num(np.asarray(one, dtype=np.float32))).resize(
                size, Image.Resampling.BILINEAR
            )
        )
        for one in (picture, found)
    )
    share = np.clip(values / limit, -1, 1) if limit else np.zeros_like(values)
    return Image.fromarray(np.rint(blended(grey, share)).astype(np.uint8))


def plot_attribution_heights(ax: Axes, heights: Sequence[Height], *, labels: Sequence[str]) -> None:
    """Plot each slice's mean part in the log-odds by label, with its interval.

    Parameters
    ----------
    ax : matplotlib Axes
    heights : sequence of Height
    labels : sequence of str
        The positive label first.
    """
    ax.axhline(0, color=QUIET, linewidth=1, linestyle=DOTTED)
    colors = [POSITIVE, NEGATIVE, *[MUTED] * len(labels)]
    for row, (label, color) in enumerate(zip(labels, colors, strict=False)):
        value, low, high = estimate_arrays([height.by_label[label] for height in heights])
        x = np.arange(len(heights))
        ax.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
        ax.plot(x, value, color=color, linewidth=2, gid=f"heights{row}", label=label)
    ax.set_xlabel("slice, from the lowest to the highest")
    ax.set_ylabel("part in the log-odds")
    ax.legend(frameon=False, fontsize=8.5, labelcolor=MUTED)


def draw_attribution_heights(heights: Sequence[Height], *, labels: Sequence[str]) -> str:
    """Return the mean part of each slice in the log-odds as one SVG element."""
    title = f"Mean part of each slice in the log-odds, for {', '.join(labels)}."
    return draw_svg(
        "attribution-heights", title, 3.4, plot_attribution_heights, heights, labels=labels
    )
