"""Pictures by which the eye checks one scan: as it came, and prepared with two outlines on it.

A picture has the patient's front at the top or on the left, the head's top at the top, and the
patient's left on the left, as letters at its edges say. Pictures of one volume have one scale, so
that a millimetre is as long on each.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError

if TYPE_CHECKING:
    from mri_transfer.scans.volumes import Volume

__all__ = ["AS_IT_CAME", "MASK_RGB", "PREPARED", "TEMPLATE_RGB", "THUMBNAIL", "qc_pictures"]

#: How the names of pictures begin: the volume that they show.
AS_IT_CAME, PREPARED = "as it came: ", "prepared: "
#: Name of the small picture for lists.
THUMBNAIL = "thumbnail"

#: Orange for the brain mask, sky blue for the template, both of Okabe and Ito (2008).
MASK_RGB, TEMPLATE_RGB = (230, 159, 0), (86, 180, 233)

BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float32]
Size: TypeAlias = tuple[int, int]

_LONGEST_PX = {AS_IT_CAME: 240, PREPARED: 216, THUMBNAIL: 160}
#: The eye tells some 30 to 60 greys apart.
_GREYS = 40
_MASK, _TEMPLATE = _GREYS, _GREYS + 1
_PALETTE = [*(level * 255 // (_GREYS - 1) for level in range(_GREYS) for _ in "rgb"),
            *MASK_RGB, *TEMPLATE_RGB]  # fmt: skip
#: Room for the letters, which cover nothing of the scan.
_MARGIN_PX = 13
_LETTER_PX = 11
#: A plane whose one side is shorter than this share of the other shows no head, but a strip of it.
_MIN_SIDES = 0.3
#: Percentiles that become black and white.
_BLACK, _WHITE = 1.0, 99.5
#: Where planes lie along an axis, as shares of the template's extent (of the scan's, as it came).
_MIDDLE = (0.5,)
_QUARTERS = (0.25, 0.5, 0.75)
_POSITIONS = (("axial", (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)), ("coronal", (0.4, 0.62)),
              ("sagittal", (0.34, 0.5)))  # fmt: skip
_THUMBNAIL_POSITION = 0.52


@dataclasses.dataclass(frozen=True)
class _Plane:
    """A plane of a RAS+ volume: the axis it cuts, those it shows, and what its edges are."""

    axis: int
    across: int
    up: int
    letters: str  # left, right, top, bottom

    def cut(self, voxels: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
        """Return one plane as a picture: rows from the top, columns from the left."""
        picture = np.moveaxis(voxels, (self.axis, self.up, self.across), (0, 1, 2))[index, ::-1]
        return picture if self.letters[0] == "L" else picture[:, ::-1]


_PLANES = {
    "sagittal": _Plane(axis=0, across=1, up=2, letters="APSI"),
    "coronal": _Plane(axis=1, across=0, up=2, letters="LRSI"),
    "axial": _Plane(axis=2, across=0, up=1, letters="LRAP"),
}


def qc_pictures(
    raw: Volume, prepared: Volume, mask: BoolArray, template_outline: BoolArray
) -> dict[str, bytes]:
    """Draw a scan as it came and prepared, for its quality page.

    Parameters
    ----------
    raw : Volume
        The scan as it came, RAS+ by its header.
    prepared : Volume
        The same scan prepared; the same volume if it passed through.
    mask : ndarray of bool, shape (X, Y, Z)
        The scan's brain on the voxels of `prepared`.
    template_outline : ndarray of bool, shape (X, Y, Z)
        The template's brain, filled, on the voxels of `prepared`.

    Returns
    -------
    dict of str to bytes
        PNG files in the order in which they are to be shown. Names say what they show:
        `as it came: axial, slice 88 of 176` (the middle of each axis; of a slab, three of its
        slices), `prepared: axial, z = 12 mm` (six axial, two coronal and two sagittal planes, the
        same ones for every scan on the same grid) and `thumbnail`. Planes in which a slab is a
        mere strip are left out. The same bytes for the same input.

    Raises
    ------
    EvaluationError
        If a mask and the prepared volume differ in shape.
    """
    for name, array in (("mask", mask), ("template_outline", template_outline)):
        if array.shape != prepared.voxels.shape or array.dtype != np.bool_:
            raise EvaluationError(
                f"{name} does not lie on the voxels of the prepared volume",
                where=prepared.scan_id,
                found=f"{array.dtype} of shape {array.shape}",
                expected=f"bool of shape {prepared.voxels.shape}",
            )
    outlines = (template_outline, mask)
    canvas = _Canvas.of(prepared, _window(prepared.voxels, mask), _LONGEST_PX[PREPARED], outlines)
    pictures = dict(_as_it_came(raw))
    for name, shares in _POSITIONS:
        if name in _worth_showing(prepared):
            for index in _within(template_outline, _PLANES[name].axis, shares):
                title = f"{PREPARED}{name}, {_position(prepared, _PLANES[name].axis, index)}"
                pictures[title] = canvas.draw(_PLANES[name], index)
    (middle,) = _within(template_outline, 2, (_THUMBNAIL_POSITION,))
    small = dataclasses.replace(canvas, longest_px=_LONGEST_PX[THUMBNAIL])
    pictures[THUMBNAIL] = small.draw(_PLANES["axial"], middle, alone=True)
    return pictures


@dataclasses.dataclass(frozen=True, eq=False)
class _Canvas:
    """A volume in greys with the outlines to be drawn on it, the template's first."""

    greys: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    longest_px: int
    outlines: Sequence[BoolArray] = ()

    @classmethod
    def of(
        cls,
        volume: Volume,
        window: tuple[float, float],
        longest_px: int,
        outlines: Sequence[BoolArray] = (),
    ) -> _Canvas:
        low, high = window
        scaled = (volume.voxels - np.float32(low)) * np.float32(255 / max(high - low, 1e-30))
        greys = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
        return cls(greys, volume.spacing_mm, longest_px, outlines)

    def draw(self, plane: _Plane, index: int, *, alone: bool = False) -> bytes:
        """Return one plane as a PNG file with a palette: greys and the colours of the outlines."""
        extent = np.multiply(self.greys.shape, self.spacing_mm)
        # All planes of a volume share a scale; one that stands alone fills its own size.
        longest = extent[[plane.across, plane.up]] if alone else extent
        size = [max(1, round(extent[axis] * self.longest_px / longest.max()))
                for axis in (plane.across, plane.up)]  # fmt: skip
        picture = _resized(plane.cut(self.greys, index), (size[0], size[1]))
        indexed = np.rint(picture / 255 * (_GREYS - 1)).astype(np.uint8)
        for colour, outline in zip((_TEMPLATE, _MASK), self.outlines, strict=False):
            inside = _resized(plane.cut(outline, index) * np.uint8(255), (size[0], size[1])) > 127
            indexed[_edge(inside, outer=colour == _TEMPLATE)] = colour
        return _png(_lettered(indexed, plane.letters))


def _as_it_came(volume: Volume) -> Iterator[tuple[str, bytes]]:
    canvas = _Canvas.of(volume, _window(volume.voxels), _LONGEST_PX[AS_IT_CAME])
    names = _worth_showing(volume)
    for name in names:
        plane = _PLANES[name]
        count = volume.voxels.shape[plane.axis]
        for index in _spread(0, count - 1, _MIDDLE if len(names) > 1 else _QUARTERS):
            title = f"{AS_IT_CAME}{name}, slice {index + 1} of {count}"
            yield title, canvas.draw(plane, index)


def _worth_showing(volume: Volume) -> list[str]:
    """Return the planes that show a head; of a slab the one along it, of anything one at least."""
    extent = np.multiply(volume.voxels.shape, volume.spacing_mm)
    sides = {name: sorted(extent[[plane.across, plane.up]]) for name, plane in _PLANES.items()}
    shown = [name for name, (short, long) in sides.items() if short >= _MIN_SIDES * long]
    return shown or [max(sides, key=lambda name: sides[name][0] * sides[name][1])]


def _within(inside: BoolArray, axis: int, shares: Sequence[float]) -> list[int]:
    """Return positions along an axis, spread over the extent of what is inside."""
    others = tuple(other for other in range(3) if other != axis)
    found = np.flatnonzero(inside.any(axis=others))
    first, last = (found[0], found[-1]) if found.size else (0, inside.shape[axis] - 1)
    return _spread(int(first), int(last), shares)


def _spread(first: int, last: int, shares: Sequence[float]) -> list[int]:
    """Return positions at shares of the way from first to last, no two alike."""
    # A hair less, so that the middle of an even number is always the lower one of two.
    return sorted({round(first + share * (last - first) - 1e-6) for share in shares})


def _position(volume: Volume, axis: int, index: int) -> str:
    """Return where a plane lies in the world, at its middle: `z = 12 mm`."""
    centre = [(extent - 1) / 2 for extent in volume.voxels.shape]
    centre[axis] = index
    mm = round(float((volume.affine @ [*centre, 1.0])[axis]))
    return f"{'xyz'[axis]} = {mm} mm".replace("-", "\u2212")


def _window(voxels: FloatArray, mask: BoolArray | None = None) -> tuple[float, float]:
    """Return what becomes black and white: percentiles of everything, and of head or brain."""
    low = float(np.percentile(voxels, _BLACK))
    inside = voxels[voxels > low if mask is None or not mask.any() else mask]
    high = float(np.percentile(inside, _WHITE)) if inside.size else low
    return (low, high) if high > low else (float(voxels.min()), float(voxels.max()))


def _resized(picture: npt.NDArray[Any], size: Size) -> npt.NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture, dtype=np.uint8))
    # Pillow widens the kernel when it makes a picture smaller, so that nothing aliases.
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def _edge(inside: BoolArray, *, outer: bool) -> BoolArray:
    """Return the rim of an area, just outside or just inside: where two agree, both are seen."""
    from scipy import ndimage

    edge: BoolArray
    if outer:
        edge = ndimage.binary_dilation(inside) & ~inside
    else:
        edge = inside & ~ndimage.binary_erosion(inside)
    return edge


def _lettered(indexed: npt.NDArray[np.uint8], letters: str) -> npt.NDArray[np.uint8]:
    """Put a black margin around a picture, and a letter at the middle of each edge."""
    from PIL import Image, ImageDraw, ImageFont

    framed = np.pad(indexed, _MARGIN_PX)
    height, width = framed.shape
    text = Image.new("L", (width, height))
    draw = ImageDraw.Draw(text)
    font = ImageFont.load_default(_LETTER_PX)
    half = _MARGIN_PX / 2
    places = ((half, height / 2), (width - half, height / 2), (width / 2, half),
              (width / 2, height - half))  # fmt: skip
    for letter, place in zip(letters, places, strict=True):
        draw.text(place, letter, fill=225, font=font, anchor="mm")
    drawn = np.rint(np.asarray(text) / 255 * (_GREYS - 1)).astype(np.uint8)
    return np.where(drawn > 0, drawn, framed)


def _png(indexed: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    image = Image.fromarray(indexed)
    image.putpalette(_PALETTE)
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
