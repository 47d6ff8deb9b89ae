"""A sheet holds every slice in its place; attribution is coloured by sign and size."""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
from PIL import Image

from mri_transfer.errors import EvaluationError
from mri_transfer.report import figures
from mri_transfer.report.figures import attribution_limit
from mri_transfer.report.figures.tiles import NEGATIVE_RGB, POSITIVE_RGB

slice_sheet = functools.partial(figures.slice_sheet, orientation="neurological")
attribution_sheet = functools.partial(figures.attribution_sheet, orientation="neurological")


def rgba(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(int)


def test_each_slice_is_where_its_number_says() -> None:
    pixels = np.zeros((11, 64, 64), np.uint8)
    pixels += np.arange(0, 220, 20, dtype=np.uint8)[:, None, None]
    sheet = rgba(slice_sheet(pixels, columns=4, tile_px=32))[..., 0]
    assert sheet.shape == (96, 128)
    for k in range(11):
        tile = sheet[k // 4 * 32 :, k % 4 * 32 :][8:24, 8:24]
        assert abs(tile.mean() - 20 * k) < 4  # lossy
    assert sheet[72:88, 104:120].max() < 4  # the twelfth place stays black


def test_a_slice_is_neither_turned_nor_stretched_nor_enlarged() -> None:
    pixels = np.zeros((1, 40, 20), np.uint8)
    pixels[0, :10, :10] = 255
    sheet = rgba(slice_sheet(pixels, columns=1, tile_px=96))[..., 0]
    assert sheet.shape == (40, 40)
    assert sheet[5, 15] > 240
    assert sheet[5, 25] < 16
    assert sheet[35, 15] < 16
    assert sheet[5, 3] < 16


def test_a_sheet_is_the_same_bytes_and_holds_pixels_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 30, 30), dtype=np.uint8)
    assert slice_sheet(pixels) == slice_sheet(pixels)
    for content in (slice_sheet(pixels), attribution_sheet(np.ones((2, 3, 3)), limit=1.0)):
        assert not set(Image.open(io.BytesIO(content)).info) - {
            "transparency",
            "loop",
            "background",
        }
    assert b"EXIF" not in slice_sheet(pixels)
    assert b"tEXt" not in attribution_sheet(np.ones((2, 3, 3)), limit=1.0)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((1, 4, 4)),
                                   np.zeros((0, 4, 4), np.uint8)])  # fmt: skip
def test_what_is_no_stack_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(EvaluationError, match="not a stack of slices"):
        slice_sheet(wrong)


def test_attribution_has_its_sign_as_colour_and_its_size_as_opacity() -> None:
    sizes = [0.0, 0.05, -0.05, 0.5, -0.5, 1.0, -1.0, 7.0]
    maps = np.array(sizes)[:, None, None] * np.ones((1, 4, 4))
    sheet = rgba(attribution_sheet(maps, limit=1.0, columns=8, scale=2))
    assert sheet.shape == (8, 64, 4)
    tiles = [sheet[4, 8 * k + 4] for k in range(8)]
    assert [tile[3] for tile in tiles[:3]] == [0, 0, 0]
    for tile, size in zip(tiles[3:], sizes[3:], strict=True):
        assert tuple(tile[:3]) == (POSITIVE_RGB if size > 0 else NEGATIVE_RGB)
    assert 0 < tiles[3][3] < tiles[5][3] < 255
    assert tiles[3][3] == tiles[4][3]
    assert tiles[5][3] == tiles[6][3] == tiles[7][3]


def test_attribution_does_not_run_over_into_the_next_slice() -> None:
    maps = np.zeros((2, 2, 2))
    maps[0] = 1.0
    sheet = rgba(attribution_sheet(maps, limit=1.0, columns=2, scale=4))
    assert (sheet[:, :8, 3] > 0).all()
    assert (sheet[:, 8:, 3] == 0).all()


def test_what_is_not_finite_is_not_drawn_and_no_attribution_is_no_fault() -> None:
    assert rgba(attribution_sheet(np.full((1, 2, 2), np.nan), limit=1.0))[..., 3].max() == 0
    assert attribution_limit(np.zeros((2, 2))) == 0.0
    assert attribution_limit(np.array([np.nan, np.inf])) == 0.0
    assert rgba(attribution_sheet(np.zeros((1, 2, 2)), limit=0.0))[..., 3].max() == 0


def test_one_outlier_does_not_set_the_limit() -> None:
    sizes = np.ones(1000)
    sizes[0] = -1e6
    assert attribution_limit(sizes) == 1.0
