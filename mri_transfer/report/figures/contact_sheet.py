"""All slices of a scan on one small sheet, and its attribution as a sheet to lay over it."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.report.figures.tiles import (
    NEGATIVE_RGB,
    POSITIVE_RGB,
    Orientation,
    oriented,
    write_on_tile,
)

__all__ = ["attribution_limit", "attribution_sheet", "slice_sheet"]

#: Of the limit; weaker attribution is left transparent, so that the anatomy stays readable.
_DEAD_ZONE = 0.1
_MAX_ALPHA = 190
#: Steps of opacity for each sign; few make a small file.
_STEPS = 10


def slice_sheet(
    pixels: npt.NDArray[np.uint8],
    *,
    orientation: Orientation,
    columns: int = 8,
    tile_px: int = 96,
    quality: int = 34,
) -> bytes:
    """Return the slices of a scan as one grey WebP picture, row by row, with L and R on each.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n_slices, H, W)
        Columns from the patient's left to right.
    orientation : {"radiological", "neurological"}
    columns : int
        Tiles a row; the last row is filled up with black.
    tile_px : int
        Edge of a square tile; a slice that is not square is padded. Slices are never enlarged.
    quality : int
        0 to 100, as WebP counts it.

    Returns
    -------
    bytes
        A WebP file that holds pixels alone: no date, text or colour profile.
    """
    from PIL import Image, ImageOps

    if pixels.ndim != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise EvaluationError(
            "not a stack of slices",
            found=f"{pixels.dtype} of shape {pixels.shape}",
            expected="uint8 of shape (n_slices, H, W)",
        )
    edge = min(tile_px, max(pixels.shape[1:]))
    tiles = [
        ImageOps.pad(Image.fromarray(one), (edge, edge), method=Image.Resampling.BOX)
        for one in oriented(pixels, orientation)
    ]
    for tile in tiles:
        write_on_tile(tile, orientation=orientation)
    sheet = Image.fromarray(_laid_out([np.asarray(tile) for tile in tiles], columns))
    stream = io.BytesIO()
    sheet.save(stream, format="WEBP", quality=quality, method=2)
    return stream.getvalue()


def attribution_limit(maps: npt.NDArray[np.floating[Any]]) -> float:
    """Return the attribution that gets the strongest colour: of all sizes the 99.5th percentile.

    A single outlier would otherwise make all other maps pale. Zero where nothing is attributed.
    """
    sizes = np.abs(np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0))
    return float(np.percentile(sizes, 99.5)) if sizes.size else 0.0


def attribution_sheet(
    maps: npt.NDArray[np.floating[Any]],
    *,
    limit: float,
    orientation: Orientation,
    columns: int = 8,
    scale: int = 2,
) -> bytes:
    """Return the attribution of a scan's slices in colour with transparency, row by row.

    Parameters
    ----------
    maps : ndarray of float, shape (n_slices, rows, columns)
        Signed; above 0 is drawn vermilion, below 0 sky blue. What is not finite is not drawn.
    limit : float
        The size that gets the strongest colour; larger ones look the same. Sizes below a tenth
        of it are transparent.
    orientation : {"radiological", "neurological"}
        As in `slice_sheet`.
    columns : int
        Tiles a row, as in `slice_sheet`.
    scale : int
        Pixels drawn for each pixel of a map, joined linearly within a slice and never across.

    Returns
    -------
    bytes
        A PNG file with a palette, without date or text.
    """
    from PIL import Image

    if maps.ndim != 3 or 0 in maps.shape:
        raise EvaluationError(
            "not the attribution of a stack of slices",
            found=f"shape {maps.shape}",
            expected="shape (n_slices, rows, columns)",
        )
    maps = oriented(maps, orientation)
    finite = np.nan_to_num(maps.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    size = (maps.shape[2] * scale, maps.shape[1] * scale)
    tiles = [
        np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BILINEAR)) for one in finite
    ]
    share = np.clip(_laid_out(tiles, columns) / (limit or 1.0), -1.0, 1.0)
    steps = np.ceil((np.abs(share) - _DEAD_ZONE) / (1 - _DEAD_ZONE) * _STEPS)
    steps = np.clip(steps, 0, _STEPS).astype(np.uint8)
    sheet = Image.fromarray(np.where((share < 0) & (steps > 0), steps + _STEPS, steps), mode="P")
    sheet.putpalette([0, 0, 0, *POSITIVE_RGB * _STEPS, *NEGATIVE_RGB * _STEPS])
    alpha = [round(_MAX_ALPHA * (step + 1) / _STEPS) for step in range(_STEPS)]
    stream = io.BytesIO()
    sheet.save(stream, format="PNG", optimize=True, transparency=bytes([0, *alpha, *alpha]))
    return stream.getvalue()


def _laid_out(tiles: list[npt.NDArray[Any]], columns: int) -> npt.NDArray[Any]:
    """Lay equally large tiles row by row; the last row is filled up with zeros."""
    height, width = tiles[0].shape
    rows = math.ceil(len(tiles) / columns)
    sheet = np.zeros((rows * height, columns * width), dtype=tiles[0].dtype)
    for i, tile in enumerate(tiles):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + height, left : left + width] = tile
    return sheet
