"""Where in the head a slice's pixels lie: from rows and columns to millimetres and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.header import VolumeSpec, check_header
from mri_transfer.scans.slices import SliceSpec, SliceStack

__all__ = ["SliceGeometry", "slice_geometry"]

FloatArray = npt.NDArray[np.floating[Any]]
DoubleArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SliceGeometry:
    """How the slices of one scan were cut from its volume, to be inverted.

    A picture is the volume's plane turned (rows from front to back, columns from left to right),
    resized to `target` pixels and padded to a square; `mri_transfer.scans.slices` does it.

    Attributes
    ----------
    shape : tuple of int
        Voxels of the volume in RAS+, (X, Y, Z).
    affine : ndarray of float64, shape (4, 4)
        Voxel index to world, mm.
    z_mm : ndarray of float64, shape (n_slices,)
        World height of each slice.
    target : tuple of int
        Rows and columns of the picture before padding.
    size_px : int
        Edge of the square picture.
    """

    shape: tuple[int, int, int]
    affine: DoubleArray
    z_mm: DoubleArray
    target: tuple[int, int]
    size_px: int

    @classmethod
    def of(
        cls, shape: tuple[int, int, int], affine: DoubleArray, z_mm: FloatArray, spec: SliceSpec
    ) -> SliceGeometry:
        """Return the geometry of slices that were cut by a spec."""
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if spec.aspect == "stretch":
            target = (spec.size_px, spec.size_px)
        else:
            extent = (shape[1] * spacing[1], shape[0] * spacing[0])
            pixel_mm = max(extent) / spec.size_px
            target = (max(1, round(extent[0] / pixel_mm)), max(1, round(extent[1] / pixel_mm)))
        return cls(
            shape=shape,
            affine=affine,
            z_mm=np.asarray(z_mm, dtype=np.float64),
            target=target,
            size_px=spec.size_px,
        )

    @property
    def z_index(self) -> DoubleArray:
        """Position of each slice along the volume's third axis."""
        middle = (np.array(self.shape[:2]) - 1) / 2
        offset = self.affine[2, :2] @ middle + self.affine[2, 3]
        found: DoubleArray = (self.z_mm - offset) / self.affine[2, 2]
        return found

    @property
    def thickness_mm(self) -> DoubleArray:
        """How much of the height each slice stands for, shape (n_slices,)."""
        if len(self.z_mm) == 1:
            return np.ones(1)
        spacing = float(np.linalg.norm(self.affine[:3, 2]))
        return np.asarray(np.gradient(self.z_index) * spacing, dtype=np.float64)

    def cell_ml(self, cells: tuple[int, int]) -> DoubleArray:
        """Return the volume that a cell of each slice stands for, in millilitres, (n_slices,).

        Parameters
        ----------
        cells : tuple of int
            Rows and columns into which the square picture is divided.
        """
        row_mm, column_mm = self.cell_mm(cells)
        found: DoubleArray = row_mm * column_mm * self.thickness_mm / 1000
        return found

    def cell_mm(self, cells: tuple[int, int]) -> tuple[float, float]:
        """Return the height and the width of a cell, in mm.

        Parameters
        ----------
        cells : tuple of int
            Rows and columns into which the square picture is divided.
        """
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        row_mm = spacing[1] * self.shape[1] / self.target[0] * self.size_px / cells[0]
        column_mm = spacing[0] * self.shape[0] / self.target[1] * self.size_px / cells[1]
        return float(row_mm), float(column_mm)

    def to_mm(self, slices: FloatArray, rows: FloatArray, columns: FloatArray) -> DoubleArray:
        """Return the world position of pixels.

        Parameters
        ----------
        slices, rows, columns : ndarray
            Positions that broadcast together; whole numbers are centres of pixels.

        Returns
        -------
        ndarray of float64, shape (3, ...)
        """
        y = self.shape[1] - 1 - self._to_voxels(rows, 0)
        x = self._to_voxels(columns, 1)
        z = np.interp(slices, np.arange(len(self.z_mm)), self.z_index)
        index = np.stack(np.broadcast_arrays(x, y, z)).astype(np.float64)
        found: DoubleArray = np.tensordot(self.affine[:3, :3], index, 1)
        return found + self.affine[:3, 3].reshape(3, *[1] * (index.ndim - 1))

    def to_pixels(self, points_mm: FloatArray) -> tuple[DoubleArray, npt.NDArray[np.bool_]]:
        """Return slice, row and column of world positions, and whether they lie in the slices.

        Parameters
        ----------
        points_mm : ndarray, shape (3, ...)

        Returns
        -------
        position : ndarray of float64, shape (3, ...)
        inside : ndarray of bool, shape (...)
        """
        inverse = np.linalg.inv(self.affine)
        index = np.tensordot(inverse[:3, :3], points_mm, 1)
        index += inverse[:3, 3].reshape(3, *[1] * (index.ndim - 1))
        rows = self._to_picture(self.shape[1] - 1 - index[1], 0)
        columns = self._to_picture(index[0], 1)
        at = self.z_index
        slices = np.interp(index[2], at, np.arange(len(at)))
        half = np.gradient(at) / 2 if len(at) > 1 else np.array([0.5])
        inside = (index[2] >= at[0] - half[0]) & (index[2] <= at[-1] + half[-1])
        for place in (rows, columns):
            inside &= (place >= -0.5) & (place <= self.size_px - 0.5)
        return np.stack([slices, rows, columns]), inside

    def sample(
        self, maps: FloatArray | npt.NDArray[np.uint8], points_mm: FloatArray
    ) -> DoubleArray:
        """Return the value of maps at world positions; NaN outside the slices.

        Linear between cells and between slices.

        Parameters
        ----------
        maps : ndarray, shape (n_slices, rows, columns)
            Cells that divide the square picture.
        points_mm : ndarray, shape (3, ...)
        """
        from scipy import ndimage

        position, inside = self.to_pixels(points_mm)
        for axis, n_cells in enumerate(maps.shape[1:], start=1):
            position[axis] = (position[axis] + 0.5) * n_cells / self.size_px - 0.5
        values = ndimage.map_coordinates(
            np.asarray(maps), position, output=np.float64, order=1, mode="nearest"
        )
        return np.where(inside, values, np.nan)

    def cell_points_mm(self, cells: tuple[int, int], *, per_edge: int = 1) -> DoubleArray:
        """Return points spread evenly in every cell.

        Parameters
        ----------
        cells : tuple of int
            Rows and columns.
        per_edge : int
            Points along a cell's edge.

        Returns
        -------
        ndarray of float64, shape (3, n_slices, rows, columns, per_edge ** 2)
        """
        within = (np.arange(per_edge) + 0.5) / per_edge
        axes = [(np.arange(n)[:, None] + within) * self.size_px / n - 0.5 for n in cells]
        rows = np.repeat(axes[0][:, None, :, None], cells[1], axis=1)
        columns = np.repeat(axes[1][None, :, None, :], cells[0], axis=0)
        rows, columns = np.broadcast_arrays(rows, columns)
        flat = (1, *cells, per_edge**2)
        slices = np.arange(len(self.z_mm), dtype=np.float64).reshape(-1, 1, 1, 1)
        return self.to_mm(slices, rows.reshape(flat), columns.reshape(flat))

    def _pad(self, axis: int) -> int:
        return (self.size_px - self.target[axis]) // 2

    def _to_voxels(self, pixels: FloatArray, axis: int) -> DoubleArray:
        scale = self.shape[1 - axis] / self.target[axis]
        return np.asarray((pixels - self._pad(axis) + 0.5) * scale - 0.5, dtype=np.float64)

    def _to_picture(self, voxels: FloatArray, axis: int) -> DoubleArray:
        scale = self.target[axis] / self.shape[1 - axis]
        return np.asarray((voxels + 0.5) * scale - 0.5 + self._pad(axis), dtype=np.float64)


def slice_geometry(
    path: Path, stack: SliceStack, *, spec: SliceSpec, volumes: VolumeSpec | None = None
) -> SliceGeometry:
    """Return how a stack's slices lie in the volume that they were cut from.

    Parameters
    ----------
    path : Path
        The prepared volume; only its header is read.
    stack : SliceStack
    spec : SliceSpec
        What the stack was cut by.
    volumes : VolumeSpec, optional

    Raises
    ------
    UnreadableScanError, UnsupportedScanError
        If the volume is not there or no longer what it was.
    """
    from nibabel import orientations

    header = check_header(path, scan_id=stack.scan_id, spec=volumes)
    tools: Any = orientations
    order = tools.io_orientation(header.affine)
    stored = np.array(header.shape[:3])
    shape = [0, 0, 0]
    for axis, (goes_to, _) in enumerate(order):
        shape[int(goes_to)] = int(stored[axis])
    affine = header.affine @ tools.inv_ornt_aff(order, tuple(stored.tolist()))
    return SliceGeometry.of(
        (shape[0], shape[1], shape[2]), np.asarray(affine, dtype=np.float64), stack.z_mm, spec
    )
