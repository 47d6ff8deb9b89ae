"""Every brain slice says which side is which and how high it lies, and every colour has a scale."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mri_transfer.errors import EvaluationError
from mri_transfer.report.figures import (
    attribution_png,
    attribution_sheet,
    convention_text,
    slice_sheet,
)
from mri_transfer.report.figures.tiles import oriented, write_on_tile

EDGE = 96


def grey(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)


def left_marked(n: int = 1) -> np.ndarray:
    """Slices whose patient's left half is bright, as they are stored."""
    pixels = np.zeros((n, EDGE, EDGE), np.uint8)
    pixels[:, 10:40, 15 : EDGE // 2] = 200
    return pixels


def letter(which: str) -> np.ndarray:
    """Where a tile is white on which nothing but a letter and its opposite stand."""
    tile = Image.new("L", (EDGE, EDGE))
    write_on_tile(tile, orientation="neurological" if which == "L" else "radiological")
    return np.asarray(tile)[:, : EDGE // 4] > 128


@pytest.mark.parametrize(
    ("orientation", "on_the_left"), [("neurological", "L"), ("radiological", "R")]
)
def test_the_picture_turns_with_its_letters(orientation: str, on_the_left: str) -> None:
    sheet = grey(slice_sheet(left_marked(), orientation=orientation, columns=1, tile_px=EDGE))
    bright_left = sheet[10:40, 15:45].mean() > sheet[10:40, 50:80].mean()
    # The patient's left is bright: it stands where the letter L does.
    assert bright_left == (on_the_left == "L")
    found = sheet[40:56, : EDGE // 4] > 128
    same = (found == letter(on_the_left)[40:56]).mean()
    other = (found == letter("R" if on_the_left == "L" else "L")[40:56]).mean()
    assert same > other


def test_attribution_turns_with_the_slices() -> None:
    maps = np.zeros((1, 4, 4))
    maps[0, :, 0] = 1.0  # on the patient's left
    for orientation, left_is_coloured in (("neurological", True), ("radiological", False)):
        content = attribution_sheet(maps, limit=1.0, orientation=orientation, columns=1)
        alpha = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))[..., 3].astype(int)
        assert (alpha[:, :2].mean() > alpha[:, -2:].mean()) == left_is_coloured


def test_slices_are_stored_with_the_left_on_the_left() -> None:
    pixels = left_marked()
    assert (oriented(pixels, "neurological") == pixels).all()
    assert (oriented(pixels, "radiological") == pixels[..., ::-1]).all()


def drawn(limits: list[float], **options: object) -> np.ndarray:
    n = len(limits)
    settings = {"z_mm": [0.0] * n, "orientation": "neurological", "columns": 1, "tile_px": EDGE}
    content = attribution_png(
        np.zeros((n, EDGE, EDGE)), np.zeros((n, 2, 2)), limits=limits, **{**settings, **options}
    )
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_colours_have_a_bar_that_goes_from_orange_to_blue_for_each_scale() -> None:
    one, two, none = drawn([1.0, 1.0]), drawn([1.0, 0.5]), drawn([0.0, 0.0])
    assert none.shape[1] == EDGE  # nothing is coloured: no bar
    assert one.shape[1] > EDGE
    bar = one[:, EDGE + 8]
    red_over_blue = bar[:, 0] - bar[:, 2]
    assert red_over_blue[20] > 60
    assert red_over_blue[-20] < -60
    # Two scales, two bars: orange begins anew in the second row.
    second = two[EDGE + 20, EDGE + 8]
    assert second[0] - second[2] > 60


def test_the_height_stands_on_the_tile() -> None:
    low, high = drawn([0.0], z_mm=[-44.0]), drawn([0.0], z_mm=[8.0])
    corner = (slice(EDGE - 20, EDGE), slice(0, EDGE // 2))
    assert low[corner].max() > 200
    assert (low[corner] != high[corner]).any()


def test_a_row_of_two_scales_is_refused() -> None:
    with pytest.raises(EvaluationError, match="one limit a row"):
        drawn([1.0, 0.5], columns=2)


def test_the_caption_says_the_convention_and_whose_word_it_is() -> None:
    assert "patient's right (R) is on the left" in convention_text("radiological")
    assert "patient's left (L) is on the left" in convention_text("neurological")
    assert "header" in convention_text("radiological")
