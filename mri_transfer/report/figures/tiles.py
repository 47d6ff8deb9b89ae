"""What is written on pictures of brain slices: which side is which, the height, the colours' scale.

Slices are stored with the patient's left on the left, by the scan's header (the neurological
convention, RAS+). How they are shown is a setting; letters on every tile say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "NEGATIVE_RGB",
    "POSITIVE_RGB",
    "Orientation",
    "blended",
    "colour_bars",
    "convention_text",
    "oriented",
    "write_on_tile",
]

Orientation = Literal["radiological", "neurological"]

#: Vermilion and sky blue of Okabe and Ito (2008): told apart without red and green, and bright
#: enough to be seen on grey and on black.
POSITIVE_RGB, NEGATIVE_RGB = (213, 94, 0), (86, 180, 233)

#: At the left and at the right edge of a picture.
_SIDES = {"neurological": ("L", "R"), "radiological": ("R", "L")}
#: Height of letters as a share of the tile's, and the least that can be read.
_LETTERS, _LEAST_PX = 0.115, 9
#: Opacity of the strongest attribution, and the share of the limit below which there is none.
_MAX_ALPHA, _DEAD_ZONE = 0.75, 0.1
_BAR_PX, _GAP_PX, _BAR_GREY = 10, 6, 110


def oriented(slices: npt.NDArray[Any], orientation: Orientation) -> npt.NDArray[Any]:
    """Return slices, or anything that covers them, as they are to be shown.

    Parameters
    ----------
    slices : ndarray, shape (..., rows, columns)
        Columns from the patient's left to right, as they are stored.
    orientation : {"radiological", "neurological"}
        Whether the patient's right or left is on the left of the picture.
    """
    return slices[..., ::-1] if orientation == "radiological" else slices


def convention_text(orientation: Orientation) -> str:
    """Return how sides are shown, as a sentence or two for a caption."""
    first, _ = _SIDES[orientation]
    side = {"L": "left", "R": "right"}[first]
    return (
        f"{orientation.capitalize()} convention: the patient's {side} ({first}) is on the left of "
        "each picture, the front on top. L and R follow the scan's header; where a source does not "
        "say its sides, or states them incorrectly, no picture can show it."
    )


def write_on_tile(tile: Any, *, orientation: Orientation, height_mm: float | None = None) -> None:
    """Write L and R at the edges of a slice, and its height into the lower left corner.

    Parameters
    ----------
    tile : PIL.Image.Image
        Grey or RGB; changed in place.
    orientation : {"radiological", "neurological"}
    height_mm : float, optional
    """
    from PIL import ImageDraw

    width, height = tile.size
    font = _font(height)
    draw = ImageDraw.Draw(tile)
    white, black = (255, 0) if tile.mode == "L" else ((255, 255, 255), (0, 0, 0))
    style: dict[str, Any] = {"font": font, "fill": white, "stroke_width": 1, "stroke_fill": black}
    left, right = _SIDES[orientation]
    draw.text((2, height / 2), left, anchor="lm", **style)
    draw.text((width - 2, height / 2), right, anchor="rm", **style)
    if height_mm is not None:
        draw.text((2, height - 2), f"{round(height_mm)} mm", anchor="lb", **style)


def blended(grey: npt.NDArray[Any], share: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Lay attribution over grey values.

    Parameters
    ----------
    grey : ndarray, 0..255
    share : ndarray of the same shape
        Of the limit, -1 to 1; above 0 is vermilion, below 0 sky blue.

    Returns
    -------
    ndarray of float64, with one more axis for red, green and blue
    """
    strength = np.clip((np.abs(share) - _DEAD_ZONE) / (1 - _DEAD_ZONE), 0, 1)[..., None]
    colour = np.where((share > 0)[..., None], POSITIVE_RGB, NEGATIVE_RGB)
    alpha = strength * _MAX_ALPHA
    return np.asarray(np.clip(grey, 0, 255)[..., None] * (1 - alpha) + colour * alpha)


def colour_bars(limits: Sequence[float], *, row_px: int) -> npt.NDArray[np.uint8]:
    """Return the scale of the colours beside rows of tiles; one bar for rows of one scale.

    Parameters
    ----------
    limits : sequence of float
        Of each row: the size that gets the strongest colour. No bar where it is 0.
    row_px : int
        Height of a row.

    Returns
    -------
    ndarray of uint8, shape (n_rows * row_px, width, 3)
        Without width where there is no bar at all.
    """
    from PIL import Image, ImageDraw

    font = _font(row_px)
    words = {limit: (f"+{limit:.2g}", "0", f"-{limit:.2g}") for limit in set(limits)}
    if not any(limits):
        return np.zeros((len(limits) * row_px, 0, 3), dtype=np.uint8)
    longest = max(font.getlength(word) for three in words.values() for word in three)
    width = round(_BAR_PX + 3 * _GAP_PX + longest)
    strip = Image.new("RGB", (width, len(limits) * row_px))
    draw = ImageDraw.Draw(strip)
    starts = [i for i in range(len(limits)) if i == 0 or limits[i] != limits[i - 1]]
    for start, end in zip(starts, [*starts[1:], len(limits)], strict=True):
        if not limits[start]:
            continue
        top, bottom = start * row_px + row_px // 8, end * row_px - row_px // 8
        share = np.linspace(1, -1, bottom - top)[:, None].repeat(_BAR_PX, axis=1)
        bar = np.rint(blended(np.full(share.shape, _BAR_GREY), share)).astype(np.uint8)
        strip.paste(Image.fromarray(bar), (_GAP_PX, top))
        at = _BAR_PX + 2 * _GAP_PX
        places = (top, (top + bottom) / 2, bottom)
        for word, y, anchor in zip(words[limits[start]], places, ("lt", "lm", "lb"), strict=True):
            draw.text((at, y), word, font=font, fill=(255, 255, 255), anchor=anchor)
    return np.asarray(strip)


def _font(tile_px: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(max(_LEAST_PX, round(_LETTERS * tile_px)))
