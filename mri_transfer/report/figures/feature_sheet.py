"""Feature maps and filters as rows of grey tiles with words beside them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.report.figures.tiles import Orientation, oriented

__all__ = ["feature_sheet"]

#: Grey values that are told apart; few make a small file.
_LEVELS = 32
_GAP_PX, _WORDS_PX = 4, 128


def feature_sheet(
    rows: Sequence[tuple[Sequence[str], npt.NDArray[np.uint8]]],
    *,
    orientation: Orientation,
    tile_px: int = 96,
) -> bytes:
    """Return rows of grey tiles as one PNG file.

    Parameters
    ----------
    rows : sequence of (sequence of str, ndarray of uint8, shape (n, rows, columns))
        The lines of words beside a row, and its tiles. Cells of small maps stay sharp squares.
    orientation : {"radiological", "neurological"}
    tile_px : int
        Edge of a tile.

    Returns
    -------
    bytes
        A grey PNG file without date or text; the same bytes for the same input.
    """
    from PIL import Image, ImageDraw, ImageFont

    step = tile_px + _GAP_PX
    width = _WORDS_PX + step * max(len(tiles) for _, tiles in rows)
    sheet = Image.new("L", (width, step * len(rows)))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, (words, tiles) in enumerate(rows):
        top = row * step
        draw.multiline_text((6, top + 6), "\n".join(words), fill=255, font=font, spacing=5)
        for column, tile in enumerate(oriented(tiles, orientation)):
            sheet.paste(_sized(tile, tile_px), (_WORDS_PX + column * step, top))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _sized(tile: npt.NDArray[np.uint8], edge: int) -> Any:
    from PIL import Image, ImageOps

    method = Image.Resampling.NEAREST if max(tile.shape) < edge else Image.Resampling.BOX
    picture = ImageOps.pad(Image.fromarray(np.ascontiguousarray(tile)), (edge, edge), method=method)
    coarse = 256 // _LEVELS
    return picture.point([value // coarse * 255 // (_LEVELS - 1) for value in range(256)])
