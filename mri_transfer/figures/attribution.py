"""Figures of attribution: over the anatomy in colour, and over the height of the head."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.figures.contact_sheet import NEGATIVE_RGB, POSITIVE_RGB
from mri_transfer.figures.svg import DOTTED, MUTED, NEGATIVE, POSITIVE, QUIET, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "attribution_png",
    "axial_planes",
    "draw_attribution_heights",
    "plot_attribution_heights",
]

FloatArray = npt.NDArray[np.floating[Any]]

#: Opacity of the strongest attribution, and the share of the limit below which there is none.
_MAX_ALPHA, _DEAD_ZONE = 0.75, 0.1


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
    columns: int,
    tile_px: int = 144,
) -> bytes:
    """Return pictures with attribution over them, row by row, as a PNG.

    Parameters
    ----------
    pictures : ndarray, shape (n, H, W)
        Grey values 0..255.
    maps : ndarray of float, shape (n, rows, columns)
        Signed, covering the whole picture; above 0 is vermilion, below 0 sky blue.
    limits : sequence of float, length n
        The size that gets the strongest colour, for each picture.
    columns : int
        Tiles a row.
    tile_px : int
        Longest edge of a tile.

    Raises
    ------
    EvaluationError
        If pictures, maps and limits are not equally many.
    """
    from PIL import Image

    if not len(pictures) == len(maps) == len(limits) or not len(pictures):
        raise EvaluationError(
            "pictures and attributions do not fit together",
            found=f"{len(pictures)} pictures, {len(maps)} maps, {len(limits)} limits",
        )
    height, width = pictures.shape[1:]
    scale = tile_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet = np.zeros((math.ceil(len(maps) / columns) * size[1], columns * size[0], 3))
    for i, (picture, found, limit) in enumerate(zip(pictures, maps, limits, strict=True)):
        grey, values = (
            np.asarray(
                Image.fromarray(np.nan_to_num(np.asarray(one, dtype=np.float32))).resize(
                    size, Image.Resampling.BILINEAR
                )
            )
            for one in (picture, found)
        )
        share = np.clip(values / (limit or 1.0), -1, 1)
        strength = np.clip((np.abs(share) - _DEAD_ZONE) / (1 - _DEAD_ZONE), 0, 1)[..., None]
        colour = np.where((share > 0)[..., None], POSITIVE_RGB, NEGATIVE_RGB)
        alpha = strength * _MAX_ALPHA
        top, left = i // columns * size[1], i % columns * size[0]
        sheet[top : top + size[1], left : left + size[0]] = (
            np.clip(grey, 0, 255)[..., None] * (1 - alpha) + colour * alpha
        )
    stream = io.BytesIO()
    # A palette of 128 colours is a third of the size, and no eye sees the difference here.
    whole = Image.fromarray(np.rint(sheet).astype(np.uint8))
    whole.quantize(128, dither=Image.Dither.NONE).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def plot_attribution_heights(
    ax: Axes, heights: Sequence[Mapping[str, Any]], *, labels: Sequence[str]
) -> None:
    """Plot each slice's mean part in the log-odds by label, with its interval.

    Parameters
    ----------
    ax : matplotlib Axes
    heights : sequence of mapping
        As `heights` in `explanation.json`.
    labels : sequence of str
        The positive label first.
    """
    ax.axhline(0, color=QUIET, linewidth=1, linestyle=DOTTED)
    colors = [POSITIVE, NEGATIVE, *[MUTED] * len(labels)]
    for row, (label, color) in enumerate(zip(labels, colors, strict=False)):
        found = [one["by_label"].get(label) or {} for one in heights]
        value, low, high = (
            np.array([np.nan if e.get(k) is None else e[k] for e in found], dtype=np.float64)
            for k in ("value", "ci_low", "ci_high")
        )
        x = np.arange(len(heights))
        ax.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
        ax.plot(x, value, color=color, linewidth=2, gid=f"heights{row}", label=label)
    ax.set_xlabel("slice, from the lowest to the highest")
    ax.set_ylabel("part in the log-odds")
    ax.legend(frameon=False, fontsize=8.5, labelcolor=MUTED)


def draw_attribution_heights(heights: Sequence[Mapping[str, Any]], *, labels: Sequence[str]) -> str:
    """Return the mean part of each slice in the log-odds as one SVG element."""
    title = f"Mean part of each slice in the log-odds, for {', '.join(labels)}."
    return draw_svg(
        "attribution-heights",
        title,
        lambda ax: plot_attribution_heights(ax, heights, labels=labels),
        height_in=3.4,
    )
