"""Mean maps of groups on one grid of millimetres, their files and the pages to turn them in."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.files import atomic_write_bytes, atomic_write_text, gzip_bytes
from mri_transfer.core.threads import map_on_cores
from mri_transfer.explain.geometry import SliceGeometry

__all__ = ["GroupGrid", "GroupMaps", "group_maps", "write_group"]

DoubleArray = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]

#: A place is shown where at least this share of the scans covers it.
_MIN_COVERED = 0.5
#: Log-odds per this many millilitres: a number that is neither tiny nor huge.
UNIT_ML = 100.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GroupGrid:
    """Voxels of the world that the slices of all scans cover.

    Attributes
    ----------
    shape : tuple of int
    affine : ndarray of float64, shape (4, 4)
    """

    shape: tuple[int, int, int]
    affine: DoubleArray

    @classmethod
    def around(
        cls, geometries: Sequence[SliceGeometry], inside: FloatArray, *, spacing_mm: float
    ) -> GroupGrid:
        """Return the grid around the heads of all scans.

        Parameters
        ----------
        geometries : sequence of SliceGeometry
        inside : ndarray of float32, shape (n_scans, n_slices, rows, columns)
            Share of each cell that lies in the head.
        spacing_mm : float
        """
        lows, highs = [], []
        for geometry, share in zip(geometries, inside, strict=True):
            points = geometry.cell_points_mm((share.shape[1], share.shape[2]), per_edge=2)
            used = points[:, share > 0].reshape(3, -1)
            lows.append(used.min(axis=1))
            highs.append(used.max(axis=1))
        low = np.floor(np.median(lows, axis=0) / spacing_mm) * spacing_mm
        high = np.ceil(np.median(highs, axis=0) / spacing_mm) * spacing_mm
        n_voxels = np.rint((high - low) / spacing_mm).astype(int) + 1
        affine = np.diag([spacing_mm] * 3 + [1.0])
        affine[:3, 3] = low
        return cls(shape=(int(n_voxels[0]), int(n_voxels[1]), int(n_voxels[2])), affine=affine)

    def points_mm(self) -> DoubleArray:
        """Return the world position of every voxel, shape (3, X, Y, Z)."""
        axes = [
            origin + step * np.arange(n)
            for origin, step, n in zip(
                self.affine[:3, 3], np.diag(self.affine)[:3], self.shape, strict=True
            )
        ]
        return np.stack(np.meshgrid(*axes, indexing="ij"))

    def at_mm(self, spacing_mm: float) -> GroupGrid:
        """Return the same box in other voxels."""
        step = float(self.affine[0, 0])
        extent = (np.array(self.shape) - 1) * step
        n_voxels = np.floor(extent / spacing_mm).astype(int) + 1
        affine = np.diag([spacing_mm] * 3 + [1.0])
        affine[:3, 3] = self.affine[:3, 3]
        return GroupGrid(
            shape=(int(n_voxels[0]), int(n_voxels[1]), int(n_voxels[2])), affine=affine
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GroupMaps:
    """Mean maps of groups of patients.

    Attributes
    ----------
    grid : GroupGrid
    maps : mapping of str to ndarray of float32, shape (X, Y, Z)
        By group, in log-odds per `UNIT_ML` millilitres; 0 where too few scans reach.
    covered : ndarray of bool, shape (X, Y, Z)
    background_grid : GroupGrid
    background : ndarray of float32
        Mean of all scans' slices, 0..255, on the background's grid.
    """

    grid: GroupGrid
    maps: Mapping[str, FloatArray]
    covered: npt.NDArray[np.bool_]
    background_grid: GroupGrid
    background: FloatArray

    def background_on_grid(self) -> FloatArray:
        """Return the background on the grid of the maps."""
        from mri_transfer.explain.regions import volume_at

        points = self.grid.points_mm()
        found = volume_at(self.background, self.background_grid.affine, points)
        return found.astype(np.float32)


def group_maps(
    maps: FloatArray,
    geometries: Sequence[SliceGeometry],
    inside: FloatArray,
    pictures: Callable[[int], npt.NDArray[np.uint8]],
    groups: Mapping[str, npt.NDArray[np.float64]],
    *,
    spacing_mm: float,
) -> GroupMaps:
    """Average maps of scans in the world's millimetres.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_scans, n_slices, rows, columns)
    geometries : sequence of SliceGeometry, length n_scans
    inside : ndarray of float32, shape as `maps`
    pictures : callable
        Returns the slices (n_slices, size_px, size_px) of a scan by its position.
    groups : mapping of str to ndarray of float64, shape (n_scans,)
        What each scan counts in the group's mean.
    spacing_mm : float
    """
    grid = GroupGrid.around(geometries, inside, spacing_mm=spacing_mm)
    fine = grid.at_mm(2.0)
    points, fine_points = grid.points_mm(), fine.points_mm()
    sums = {name: np.zeros(grid.shape) for name in groups}
    counts = {name: np.zeros(grid.shape) for name in groups}
    reached, head = np.zeros(grid.shape), np.zeros(grid.shape)
    background, fine_reached = np.zeros(fine.shape), np.zeros(fine.shape)

    def sampled(i: int) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        geometry = geometries[i]
        cells = geometry.cell_ml((maps.shape[2], maps.shape[3]))
        density = maps[i] / cells[:, None, None] * UNIT_ML
        return (
            geometry.sample(density, points),
            geometry.sample(inside[i], points),
            geometry.sample(pictures(i), fine_points),
        )

    n = len(geometries)
    # Scans are sampled a core each and added in their order, which rounds the same on any machine.
    for i, (values, share, grey) in enumerate(map_on_cores(sampled, range(n))):
        there = np.isfinite(values)
        reached += there
        head += np.nan_to_num(share)
        for name, shares in groups.items():
            sums[name] += shares[i] * np.where(there, values, 0.0)
            counts[name] += shares[i] * there
        fine_reached += np.isfinite(grey)
        background += np.nan_to_num(grey)
    covered = (reached >= _MIN_COVERED * n) & (head >= _MIN_COVERED * n)
    return GroupMaps(
        grid=grid,
        maps={
            name: np.where(covered, total / np.maximum(counts[name], 1e-12), 0).astype(np.float32)
            for name, total in sums.items()
        },
        covered=covered,
        background_grid=fine,
        background=(background / np.maximum(fine_reached, 1)).astype(np.float32),
    )


def write_group(
    folder: Path,
    stem: str,
    title: str,
    found: GroupMaps,
    name: str,
    *,
    on_template: bool,
    viewer: bool,
) -> list[Path]:
    """Write a group's map as `<stem>.nii.gz`, and a page to turn it in as `<stem>.html`.

    Parameters
    ----------
    folder : Path
    stem : str
        A safe name; labels may hold signs that no file name can.
    title : str
        Shown on the page.
    found : GroupMaps
    name : str
        Which of the groups.
    on_template : bool
        Whether the page shows the template's anatomy; otherwise the mean of the cohort's scans.
    viewer : bool
        Whether the page is written.
    """
    image = _image(found.maps[name], found.grid.affine)
    written = [folder / f"{stem}.nii.gz"]
    atomic_write_bytes(written[0], gzip_bytes(image.to_bytes()))
    if viewer:
        written.append(folder / f"{stem}.html")
        atomic_write_text(written[1], _viewer(image, found, title, on_template=on_template))
    return written


def _image(voxels: FloatArray, affine: DoubleArray) -> Any:
    from nibabel.nifti1 import Nifti1Image

    make: Any = Nifti1Image
    image = make(voxels, affine)
    image.header.set_xyzt_units("mm")
    return image


def _viewer(image: Any, found: GroupMaps, title: str, *, on_template: bool) -> str:
    import warnings

    from nilearn.datasets import load_mni152_template
    from nilearn.plotting import view_img

    strength = np.abs(np.asarray(image.dataobj))
    highest = float(strength.max())
    background = (
        load_mni152_template(resolution=2)
        if on_template
        else _image(found.background, found.background_grid.affine)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        view = view_img(
            image,
            bg_img=background,
            black_bg=True,
            threshold=0.25 * highest if highest else None,
            vmax=highest or 1.0,
            symmetric_cmap=True,
            resampling_interpolation="continuous",
            width_view=900,
            # What nilearn puts into the page it does not escape.
            title=html.escape(title),
        )
    return _settled(str(view.get_standalone()))


def _settled(page: str) -> str:
    """Take from a page of nilearn what differs from call to call, and what asks a network."""
    page = re.sub(r"<link\s+rel=\"icon\"[^>]*>", "", page)
    return re.sub(r"(?<=[-_])[0-9a-f]{32}\b", "map", page)
