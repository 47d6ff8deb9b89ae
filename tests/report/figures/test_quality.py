"""Pictures for the eye: the right way round, in proportion, with outlines where the masks end."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.report.figures import qc_pictures
from mri_transfer.report.figures.quality import (
    AS_IT_CAME,
    MASK_RGB,
    PREPARED,
    TEMPLATE_RGB,
    THUMBNAIL,
)
from mri_transfer.scans.volumes import Volume
from tests.phantoms import asymmetric_phantom, ras_affine

BoolArray = npt.NDArray[np.bool_]
MARGIN = 13
SHAPE = (40, 48, 44)


def volume(
    voxels: npt.NDArray[np.float32],
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    origin_mm: tuple[float, float, float] = (-20.0, -24.0, -22.0),
) -> Volume:
    return Volume(voxels=voxels, affine=ras_affine(spacing_mm, origin_mm), scan_id="s")


def ball(centre: tuple[float, float, float], radius: float) -> BoolArray:
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    distance = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
    inside: BoolArray = distance < radius**2
    return inside


MASK = ball((18, 25, 22), 14)
TEMPLATE = ball((20, 22, 21), 15)
PHANTOM = volume(asymmetric_phantom(SHAPE))


def rgb(png: bytes, *, margin: int = MARGIN) -> npt.NDArray[np.int64]:
    """Return a picture without the margin of its letters, shape (H, W, 3)."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int64)
    return pixels[margin : len(pixels) - margin, margin : pixels.shape[1] - margin]


def of(pictures: dict[str, bytes], start: str) -> bytes:
    """Return the first picture whose name starts so."""
    return next(png for name, png in pictures.items() if name.startswith(start))


def is_colour(pixels: npt.NDArray[np.int64], colour: tuple[int, int, int]) -> BoolArray:
    found: BoolArray = (pixels == colour).all(axis=-1)
    return found


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return qc_pictures(PHANTOM, PHANTOM, MASK, TEMPLATE)


# --- which pictures ----------------------------------------------------------------------------


def test_scan_has_three_middle_planes_a_sheet_and_a_thumbnail(pictures: dict[str, bytes]) -> None:
    # The template's ball reaches from 6 to 34, 8 to 36 and 7 to 35 voxels.
    assert list(pictures) == [
        "as it came: sagittal, slice 20 of 40",
        "as it came: coronal, slice 24 of 48",
        "as it came: axial, slice 22 of 44",
        "prepared: axial, z = −11 mm",
        "prepared: axial, z = −7 mm",
        "prepared: axial, z = −2 mm",
        "prepared: axial, z = 2 mm",
        "prepared: axial, z = 6 mm",
        "prepared: axial, z = 10 mm",
        "prepared: coronal, y = −5 mm",
        "prepared: coronal, y = 1 mm",
        "prepared: sagittal, x = −4 mm",
        "prepared: sagittal, x = 0 mm",
        "thumbnail",
    ]


def test_slab_shows_axial_planes_only() -> None:
    slab = volume(asymmetric_phantom((88, 104, 16)))
    inside = slab.voxels > 0
    names = list(qc_pictures(slab, slab, inside, inside))
    assert [name for name in names if name.startswith(AS_IT_CAME)] == [
        f"as it came: axial, slice {i} of 16" for i in (5, 8, 12)
    ]
    sheet = [name for name in names if name.startswith(PREPARED)]
    assert len(sheet) == 6
    assert all("axial" in name for name in sheet)


@pytest.mark.parametrize("shape", [(1, 30, 30), (30, 1, 30), (1, 1, 9), (1, 1, 1), (3, 90, 7)])
def test_any_shape_has_a_picture_of_both_volumes(shape: tuple[int, int, int]) -> None:
    odd = volume(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    inside = np.ones(shape, dtype=np.bool_)
    names = list(qc_pictures(odd, PHANTOM, MASK, TEMPLATE))
    assert names[0].startswith(AS_IT_CAME)
    assert THUMBNAIL in qc_pictures(PHANTOM, odd, inside, inside)


# --- the right way round -----------------------------------------------------------------------


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("group", [AS_IT_CAME, PREPARED])
def test_left_front_and_top_lie_where_the_letters_say(plane: str, group: str) -> None:
    voxels = np.zeros(SHAPE, dtype=np.float32)
    voxels[:22, 22:, 20:] = 100  # the patient's left, front and upper part
    corner, nothing = volume(voxels), np.zeros(SHAPE, dtype=np.bool_)
    pixels = rgb(of(qc_pictures(corner, corner, nothing, voxels > 0), group + plane))[..., 0]
    height, width = pixels.shape
    # On every plane it is the upper left quarter: left or front is left, front or top is up.
    assert pixels[: height // 3, : width // 3].min() > 200
    assert pixels[-height // 3 :].max() < 30
    assert pixels[:, -width // 3 :].max() < 30


@pytest.mark.parametrize(
    ("plane", "letters"), [("axial", "LRAP"), ("coronal", "LRSI"), ("sagittal", "APSI")]
)
def test_letters_stand_at_the_edges(pictures: dict[str, bytes], plane: str, letters: str) -> None:
    from PIL import Image, ImageDraw, ImageFont

    pixels = rgb(of(pictures, AS_IT_CAME + plane), margin=0)[..., 0]
    height, width = pixels.shape
    half = MARGIN / 2
    places = [(half, height / 2), (width - half, height / 2), (width / 2, half),
              (width / 2, height - half)]  # fmt: skip
    frame = np.ones_like(pixels, dtype=bool)
    frame[MARGIN:-MARGIN, MARGIN:-MARGIN] = False
    drawn = np.zeros_like(pixels)
    for letter, place in zip(letters, places, strict=True):
        image = Image.new("L", (width, height))
        font = ImageFont.load_default(11)
        ImageDraw.Draw(image).text(place, letter, fill=255, font=font, anchor="mm")
        drawn = np.maximum(drawn, np.asarray(image))
    np.testing.assert_array_equal(pixels[frame] > 60, drawn[frame] > 70)
    assert (drawn > 70)[~frame].sum() == 0  # nothing of the scan is covered


# --- in proportion -----------------------------------------------------------------------------


def test_pictures_are_in_proportion_to_millimetres() -> None:
    # 40 x 60 x 50 mm; the longest becomes 240 pixels.
    scan = volume(asymmetric_phantom((40, 30, 20)), spacing_mm=(1.0, 2.0, 2.5))
    pictures = qc_pictures(scan, PHANTOM, MASK, TEMPLATE)
    shapes = [rgb(of(pictures, AS_IT_CAME + plane)).shape[:2]
              for plane in ("sagittal", "coronal", "axial")]  # fmt: skip
    assert shapes == [(200, 240), (200, 160), (240, 160)]


def test_thumbnail_is_160_pixels_long_between_its_letters(pictures: dict[str, bytes]) -> None:
    assert rgb(pictures[THUMBNAIL]).shape == (160, 133, 3)
    assert rgb(pictures[THUMBNAIL], margin=0)[:, :10].max() > 150


def test_pictures_of_a_scan_are_small() -> None:
    noise = np.random.default_rng(0).normal(1000, 60, (90, 112, 96)).astype(np.float32)
    head = np.where(asymmetric_phantom((90, 112, 96)) > 0, noise, 30).astype(np.float32)
    scan = volume(head, spacing_mm=(2.0, 2.0, 2.0))
    pictures = qc_pictures(scan, scan, head > 100, head > 100)
    assert sum(map(len, pictures.values())) < 200_000  # noise is the worst case


# --- outlines ----------------------------------------------------------------------------------


def _nearest(inside: BoolArray, shape: tuple[int, int]) -> BoolArray:
    """Return a plane (X, Y) as a picture by nearest neighbour: the slow and plain way."""
    rows, columns = shape
    y = ((rows - 1 - np.arange(rows)) + 0.5) / rows * inside.shape[1]
    x = (np.arange(columns) + 0.5) / columns * inside.shape[0]
    return inside[np.ix_(x.astype(int), y.astype(int))].T


@pytest.mark.parametrize(
    ("colour", "inside", "grow"), [(MASK_RGB, MASK, 0), (TEMPLATE_RGB, TEMPLATE, 1)]
)
def test_outlines_lie_where_the_masks_end(
    pictures: dict[str, bytes], colour: tuple[int, int, int], inside: BoolArray, grow: int
) -> None:
    from scipy import ndimage

    for z_mm, k in ((-7, 15), (2, 24), (10, 32)):
        sign = "−" if z_mm < 0 else ""
        pixels = rgb(pictures[f"prepared: axial, z = {sign}{abs(z_mm)} mm"])
        line = is_colour(pixels, colour)
        area = _nearest(inside[:, :, k], pixels.shape[:2])
        # A voxel is 4.5 pixels wide: a smooth outline stays within half a voxel of its steps.
        away = np.where(
            area, ndimage.distance_transform_edt(area), ndimage.distance_transform_edt(~area)
        )
        assert line.sum() > 60
        assert away[line].max() <= 4.5
        # It runs all around: nothing leads from its middle to the corner of the picture.
        if colour == MASK_RGB:
            around, _ = ndimage.label(~line)
            middle = np.round(ndimage.center_of_mass(area)).astype(int)
            assert around[tuple(middle)] != around[0, 0]


def test_both_outlines_are_seen_where_they_agree() -> None:
    pictures = qc_pictures(PHANTOM, PHANTOM, MASK, MASK)
    pixels = rgb(of(pictures, PREPARED + "axial"))
    both = [is_colour(pixels, colour).sum() for colour in (MASK_RGB, TEMPLATE_RGB)]
    assert min(both) > 0.8 * max(both) > 100


def test_scan_as_it_came_carries_no_outline(pictures: dict[str, bytes]) -> None:
    for name, png in pictures.items():
        pixels = rgb(png, margin=0)
        coloured = (pixels.min(axis=-1) != pixels.max(axis=-1)).any()
        assert coloured == (not name.startswith(AS_IT_CAME))


@pytest.mark.parametrize("empty", ["mask", "template"])
def test_empty_mask_leaves_the_pictures_and_no_line(empty: str) -> None:
    nothing = np.zeros(SHAPE, dtype=np.bool_)
    mask, template = (nothing, TEMPLATE) if empty == "mask" else (MASK, nothing)
    pixels = rgb(of(qc_pictures(PHANTOM, PHANTOM, mask, template), PREPARED))
    absent = MASK_RGB if empty == "mask" else TEMPLATE_RGB
    assert not is_colour(pixels, absent).any()
    assert pixels.max() > 100


# --- greys and bytes ---------------------------------------------------------------------------


def test_one_bright_voxel_does_not_darken_the_scan() -> None:
    bright = PHANTOM.voxels.copy()
    bright[20, 24, 22] = 1e9
    pixels = rgb(of(qc_pictures(volume(bright), PHANTOM, MASK, TEMPLATE), AS_IT_CAME + "axial"))
    assert np.percentile(pixels, 75) > 100


def test_two_greys_are_black_and_white_however_rare_one_is() -> None:
    voxels = np.full(SHAPE, 100, dtype=np.float32)
    voxels[18:22, 22:26, 20:24] = 0
    pixels = rgb(of(qc_pictures(volume(voxels), PHANTOM, MASK, TEMPLATE), AS_IT_CAME))
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize("voxels", [np.zeros(SHAPE), np.full(SHAPE, 7.0), np.full(SHAPE, -1e30)])
def test_scan_without_contrast_is_drawn_all_the_same(voxels: npt.NDArray[np.float64]) -> None:
    flat = volume(voxels.astype(np.float32))
    assert len(qc_pictures(flat, flat, MASK, TEMPLATE)) == 14


def test_same_input_gives_the_same_bytes(pictures: dict[str, bytes]) -> None:
    again = volume(np.asfortranarray(PHANTOM.voxels))
    assert qc_pictures(again, again, MASK.copy(), TEMPLATE.copy()) == pictures


@pytest.mark.parametrize("which", ["mask", "template_outline"])
def test_mask_of_another_grid_is_refused(which: str) -> None:
    masks = {"mask": MASK, "template_outline": TEMPLATE, which: MASK[:-1]}
    with pytest.raises(EvaluationError, match=f"{which} does not lie on the voxels"):
        qc_pictures(PHANTOM, PHANTOM, masks["mask"], masks["template_outline"])
