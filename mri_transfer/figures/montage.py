"""All slices of a scan on one sheet."""

from __future__ import annotations

import io
import math

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError

__all__ = ["montage_png"]

UInt8Array = npt.NDArray[np.uint8]


def montage_png(
    pixels: UInt8Array, *, columns: int = 8, tile_px: int = 112, grey_levels: int = 64
) -> bytes:
    """Return the slices of a scan as one 8-bit grey PNG, row by row.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n_slices, H, W)
    columns : int
        Tiles a row; the last row is filled up with black.
    tile_px : int
        Longest edge of a tile; the other keeps the proportion. Slices are never enlarged.
    grey_levels : int
        2 to 256; fewer make a smaller file. The eye tells some 30 to 60 apart.

    Returns
    -------
    bytes
        A PNG file without date, text or palette.
    """
    from PIL import Image

    if pixels.ndim != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise EvaluationError(
            "not a stack of slices",
            found=f"{pixels.dtype} of shape {pixels.shape}",
            expected="uint8 of shape (n_slices, H, W)",
        )
    count, rows_px, columns_px = pixels.shape
    scale = min(1.0, tile_px / max(rows_px, columns_px))
    height, width = max(1, round(rows_px * scale)), max(1, round(columns_px * scale))
    sheet = np.zeros((math.ceil(count / columns) * height, columns * width), dtype=np.uint8)
    step = 255 / (grey_levels - 1)
    for i, picture in enumerate(pixels):
        small = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
        top, left = i // columns * height, i % columns * width
        coarse = np.rint(np.rint(small / step) * step).astype(np.uint8)
        sheet[top : top + height, left : left + width] = coarse
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
