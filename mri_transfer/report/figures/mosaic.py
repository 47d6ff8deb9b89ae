"""A volume as one grey picture, plane beside plane, small enough to be carried by a page."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import numpy.typing as npt

__all__ = ["Mosaic", "volume_mosaic"]

#: Shares of the values above zero that become black and white, percent.
_BLACK, _WHITE = 0.5, 99.5
_QUALITY = 75


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mosaic:
    """The axial planes of a volume on one sheet, row by row from below.

    Attributes
    ----------
    content : bytes
        A WebP file, grey. Rows of a plane run from back to front, columns from the patient's left.
    shape : tuple of int
        Voxels along x, y and z of what is shown: the volume without its empty margin.
    columns : int
        Planes a row of the sheet.
    spacing_mm, origin_mm : tuple of float
        Voxel size, and the world position of the first voxel's centre.
    """

    content: bytes
    shape: tuple[int, int, int]
    columns: int
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]


def volume_mosaic(
    voxels: npt.NDArray[np.float32],
    affine: npt.NDArray[np.float64],
    spacing_mm: tuple[float, float, float],
) -> Mosaic:
    """Return a volume at full resolution as one picture.

    Parameters
    ----------
    voxels : ndarray of float32, shape (X, Y, Z)
        Axes in RAS+ order; zero outside of the head.
    affine : ndarray, shape (4, 4)
        Voxel index to world, mm. Of an oblique scan, positions are those along the central axes.
    spacing_mm : tuple of float
        Voxel size.
    """
    from PIL import Image

    grey = _as_grey(voxels)
    start, stop = _extent(voxels > 0)
    grey = grey[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    nx, ny, nz = (int(extent) for extent in grey.shape)
    # About as high as wide.
    columns = max(1, min(nz, math.ceil(math.sqrt(nz * ny / nx))))
    rows = math.ceil(nz / columns)
    sheet = np.zeros((rows, columns, ny, nx), dtype=np.uint8)
    sheet.reshape(rows * columns, ny, nx)[:nz] = grey.transpose(2, 1, 0)
    stream = io.BytesIO()
    Image.fromarray(sheet.transpose(0, 2, 1, 3).reshape(rows * ny, columns * nx)).save(
        stream, format="WEBP", quality=_QUALITY, method=0
    )
    x, y, z = _origin(affine, voxels.shape, start)
    return Mosaic(
        content=stream.getvalue(),
        shape=(nx, ny, nz),
        columns=columns,
        spacing_mm=spacing_mm,
        origin_mm=(x, y, z),
    )


def _as_grey(voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    inside = voxels[voxels > 0]
    if not inside.size:
        return np.zeros(voxels.shape, dtype=np.uint8)
    black, white = np.percentile(inside, [_BLACK, _WHITE])
    scaled = (voxels - black) * (255 / max(float(white - black), 1e-6))
    grey: npt.NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return grey


def _extent(inside: npt.NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Return where what is inside starts and stops along each axis; of nothing, the whole."""
    start, stop = [0, 0, 0], list(inside.shape)
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(inside.any(axis=others))
        if len(found):
            start[axis], stop[axis] = int(found[0]), int(found[-1]) + 1
    return start, stop


def _origin(
    affine: npt.NDArray[np.float64], shape: tuple[int, ...], start: list[int]
) -> list[float]:
    """Return the world position of the first voxel shown, along the axes through the centre."""
    centre = (np.array(shape) - 1) / 2
    found = []
    for axis in range(3):
        index = centre.copy()
        index[axis] = start[axis]
        found.append(round(float((affine @ [*index, 1.0])[axis]), 3))
    return found
