"""Hard heads made from real ones: turned, atrophied, cut, noisy, bright-scalped, with a long neck.

Every maker takes a scan, where the template lies in it, and its amount, and returns the scan that
a user might bring. Brains are deformed by smooth maps whose truth is known: what was an affine
before still is the best affine afterwards.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mri_transfer.scans.preparation.brain import brain_mask
from mri_transfer.scans.preparation.pose import TURNS
from mri_transfer.scans.preparation.registration import one_thread
from mri_transfer.scans.preparation.template import (
    affine_of_image,
    array_of_image,
    image_of_array,
    image_of_volume,
    itk_affine,
    load_template,
    prepared_grid,
)
from mri_transfer.scans.volumes import Volume, load_volume

__all__ = ["Case", "Head", "case_names", "list_heads", "make_case"]

FloatArray = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
#: Patients whose heads may be used to choose the method's constants. The others are only reported.
_TUNED_ON = ("OAS10001", "OAS10037", "ms01")
#: Distance from the ventricles over which the brain gives way, at most.
_REACH_MM = 45.0
#: RAS limits in mm of the fluid that belongs to the ventricles, and heights of two cuts that leave
#: the brain whole: below the cerebellum and above the vertex.
_CENTRE_BOX_MM = ((-45.0, 45.0), (-60.0, 45.0), (-10.0, 40.0))
_BELOW_CEREBELLUM_MM, _ABOVE_VERTEX_MM = -70.0, 84.0
_NECK_MM, _BRAIN_MM = 70.0, 170.0
#: Ventricles grow to this volume at most: an adult who walks into a scanner hardly has more.
_MOST_FLUID_MM3 = 250_000.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """A real whole head.

    Parameters
    ----------
    name : str
    path : Path
    tuned_on : bool
        Whether the method's constants may be chosen on it.
    thick : bool
        Whether its slices are thicker than 2.5 mm.
    near_template : bool
        Whether it came registered to a template.
    """

    name: str
    path: Path
    tuned_on: bool
    thick: bool
    near_template: bool

    def load(self) -> Volume:
        """Read the scan in RAS+."""
        return load_volume(self.path, scan_id=self.name)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A scan to prepare and where the template lies in it.

    Parameters
    ----------
    volume : Volume
    matrix : ndarray of float64, shape (4, 4)
        Template position to scan position, both RAS mm, by which the case was made.
    turn : int
        How the head lies against the header: position in `TURNS`, 0 if they agree.
    """

    volume: Volume
    matrix: Matrix
    turn: int = 0


def list_heads() -> list[Head]:
    """Return every whole head of the data folder."""
    heads = []
    for folder in ("heads-wild", "oasis1-heads-3", "ixi-16"):
        for path in sorted((_DATA / folder).rglob("*_T1w.nii.gz")):
            name = path.name.removesuffix("_T1w.nii.gz").removeprefix("sub-")
            tuned_on = any(word in name for word in _TUNED_ON)
            if folder == "ixi-16":
                tuned_on = int(name.removeprefix("IXI")) % 2 == 1
            heads.append(
                Head(
                    name=name,
                    path=path,
                    tuned_on=tuned_on,
                    thick=name.startswith("ms"),
                    near_template=folder == "oasis1-heads-3",
                )
            )
    return heads


def case_names(head: Head, *, place: int) -> Iterator[str]:
    """Return the names of a head's cases; turns are dealt out so that all 24 occur.

    Parameters
    ----------
    place : int
        Of the head in `list_heads`.
    """
    common = head.name.startswith("IXI")
    yield "plain"
    turns = [1 + (place * 7 + k * 5) % 23 for k in range(3 if common else 8)]
    yield from (f"header-{turn}" for turn in turns)
    yield from (f"content-{1 + (turn + 10) % 23}" for turn in turns[: 1 if common else 4])
    amounts = ("2", "3", "4", "6")
    yield from (f"ventricles-{a}" for a in (amounts if not common else amounts[place % 2 :: 2]))
    yield from ("contrast-gamma0.6", "contrast-gamma1.7", "contrast-bias80", "contrast-scalp2")
    yield from ("noise-9", "neck-long", "neck-off", "vertex-off", "cavity-50", "lesions-20")
    yield from ("sulci-2", "old-3", "shifted-40")


def make_case(head: Head, volume: Volume, matrix: Matrix, name: str) -> Case:
    """Make one case of a head.

    Parameters
    ----------
    volume : Volume
        The head as it came.
    matrix : ndarray of float64, shape (4, 4)
        Where the template lies in it.
    name : str
        One of `case_names`: a maker and its amount.
    """
    kind, _, amount = name.partition("-")
    draw = np.random.default_rng(zlib.crc32(f"{head.name} {name}".encode()))
    if kind in ("header", "content"):
        return _turned(volume, matrix, int(amount), by_content=kind == "content")
    if kind == "shifted":
        shift = np.eye(4)
        shift[:3, 3] = draw.choice([-1.0, 1.0], 3) * float(amount)
        return Case(
            volume=dataclasses.replace(volume, affine=shift @ volume.affine), matrix=shift @ matrix
        )
    voxels = np.asarray(volume.voxels, dtype=np.float32)
    if kind == "neck" and amount == "long":
        return Case(volume=_with_neck(volume), matrix=matrix)
    if kind in ("neck", "vertex"):
        return Case(volume=_cut(volume, matrix, top=kind == "vertex"), matrix=matrix)
    changed = voxels.copy()
    if kind == "contrast":
        changed = _contrast(voxels, _Space.of(volume, matrix), amount, draw)
    elif kind == "noise":
        changed = _noisy(voxels, _Space.of(volume, matrix).white, float(amount), draw)
    elif kind != "plain":
        box = _around_brain(volume, matrix)
        part = _part_of(volume, box)
        space = _Space.of(part, matrix)
        changed[box] = _brain_changed(part.voxels, space, kind, float(amount), draw)
        if kind == "old":
            whole = _Space.of(volume, matrix)
            changed = _noisy(_contrast(changed, whole, "bias80", draw), space.white, 4.0, draw)
    return Case(volume=dataclasses.replace(volume, voxels=changed), matrix=matrix)


def _brain_changed(
    voxels: FloatArray, space: _Space, kind: str, amount: float, draw: np.random.Generator
) -> FloatArray:
    makers: dict[str, Callable[[], FloatArray]] = {
        "ventricles": lambda: _grown_ventricles(voxels, space, amount),
        "sulci": lambda: _widened_sulci(voxels, space, amount),
        "old": lambda: _widened_sulci(_grown_ventricles(voxels, space, amount), space, 2.0),
        "cavity": lambda: _cavity(voxels, space, amount, draw),
        "lesions": lambda: _lesions(voxels, space, amount, draw),
    }
    return makers[kind]()


def _around_brain(volume: Volume, matrix: Matrix) -> tuple[slice, slice, slice]:
    """Return the voxels of a scan that hold the template's brain and some room."""
    grid = prepared_grid(crop=True)
    low, high = np.array(grid.origin_mm), np.array(grid.origin_mm) + grid.size
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True), [1.0])).reshape(4, -1)
    index = (np.linalg.inv(volume.affine) @ matrix @ corners)[:3]
    first = np.maximum(np.floor(index.min(axis=1)), 0).astype(int)
    last = np.minimum(np.ceil(index.max(axis=1)) + 1, volume.voxels.shape).astype(int)
    a, b, c = (slice(int(f), int(e)) for f, e in zip(first, last, strict=True))
    return a, b, c


def _part_of(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.affine @ [*(part.start for part in box), 1.0])[:3]
    voxels = np.ascontiguousarray(volume.voxels[box], dtype=np.float32)
    return dataclasses.replace(volume, voxels=voxels, affine=affine)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Space:
    """What is known of a head: template position and brain of every voxel, levels of signal."""

    at_mm: Matrix  # (3, X, Y, Z): template position of every voxel
    brain: npt.NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    white: float
    fluid: float

    @classmethod
    def of(cls, volume: Volume, matrix: Matrix) -> _Space:
        import SimpleITK as sitk

        image = image_of_volume(volume)
        grid = prepared_grid(crop=True).image(spacing_mm=2.0)
        with one_thread():
            small = sitk.Resample(
                image, grid, itk_affine(matrix), sitk.sitkLinear, 0.0, sitk.sitkFloat32
            )
            found = image_of_array(brain_mask(small).astype(np.float32), affine_of_image(small))
            back = itk_affine(np.linalg.inv(matrix))
            brain = array_of_image(sitk.Resample(found, image, back, sitk.sitkLinear, 0.0)) > 0.5
            white = array_of_image(
                sitk.Resample(load_template().white, image, back, sitk.sitkLinear, 0.0)
            )
        level = float(np.median(volume.voxels[brain & (white > 0.9)]))
        inside = volume.voxels[brain]
        index = np.stack(np.indices(volume.voxels.shape)).reshape(3, -1)
        to_template = np.linalg.inv(matrix) @ volume.affine
        at = to_template[:3, :3] @ index + to_template[:3, 3:]
        return cls(
            at_mm=at.reshape(3, *volume.voxels.shape),
            brain=brain,
            spacing_mm=volume.spacing_mm,
            white=level,
            fluid=min(float(np.percentile(inside, 3)), 0.35 * level),
        )

    def depth_mm(self, mask: npt.NDArray[np.bool_]) -> Matrix:
        """Return the signed distance to a region, negative inside."""
        outside = ndimage.distance_transform_edt(~mask, sampling=self.spacing_mm)
        inside = ndimage.distance_transform_edt(mask, sampling=self.spacing_mm)
        depth: Matrix = np.asarray(outside) - np.asarray(inside)
        return depth


def _turned(volume: Volume, matrix: Matrix, turn: int, *, by_content: bool) -> Case:
    """Turn what the header says, or the voxels under the header that they have."""
    rotation = np.eye(4)
    rotation[:3, :3] = TURNS[turn]
    middle = volume.affine @ np.append((np.array(volume.voxels.shape) - 1) / 2, 1.0)
    rotation[:3, 3] = middle[:3] - TURNS[turn] @ middle[:3]
    if by_content:
        # The same head, stored along other axes and about another origin.
        rotation[:3, 3] += (12.0, -25.0, 30.0)
    affine = rotation @ volume.affine
    order = np.abs(affine[:3, :3]).argmax(axis=1)
    voxels, canonical = volume.voxels.transpose(order), affine[:, [*order, 3]]
    for axis in range(3):
        if canonical[axis, axis] < 0:
            voxels = np.flip(voxels, axis)
            canonical[:3, 3] += canonical[:3, axis] * (voxels.shape[axis] - 1)
            canonical[:3, axis] *= -1
    turned = dataclasses.replace(volume, voxels=np.ascontiguousarray(voxels), affine=canonical)
    return Case(volume=turned, matrix=rotation @ matrix, turn=turn)


def _with_neck(volume: Volume) -> Volume:
    """Continue the lowest slice downwards: a long neck, or shoulders for a head that is cut."""
    n_more = int(_NECK_MM / volume.spacing_mm[2])
    neck = np.repeat(volume.voxels[:, :, 1:2], n_more, axis=2)
    affine = volume.affine.copy()
    affine[:3, 3] -= affine[:3, 2] * n_more
    voxels = np.concatenate([neck, volume.voxels], axis=2)
    return dataclasses.replace(volume, voxels=voxels, affine=affine)


def _cut(volume: Volume, matrix: Matrix, *, top: bool) -> Volume:
    """End the field of view just below the cerebellum, or just above the vertex."""
    height_mm = _ABOVE_VERTEX_MM if top else _BELOW_CEREBELLUM_MM
    middle = matrix @ np.array([0.0, -18.0, height_mm, 1.0])
    k = int(np.clip((np.linalg.inv(volume.affine) @ middle)[2], 0, volume.voxels.shape[2] - 1))
    affine = volume.affine.copy()
    if not top:
        affine[:3, 3] += affine[:3, 2] * k
    voxels = volume.voxels[:, :, :k] if top else volume.voxels[:, :, k:]
    return dataclasses.replace(volume, voxels=np.ascontiguousarray(voxels), affine=affine)


def _grown_ventricles(voxels: FloatArray, space: _Space, times: float) -> FloatArray:
    """Grow the ventricles to a multiple of their volume; the brain gives way smoothly."""
    box = np.ones(voxels.shape, dtype=bool)
    for axis, (low, high) in enumerate(_CENTRE_BOX_MM):
        box &= (space.at_mm[axis] > low) & (space.at_mm[axis] < high)
    dark = ndimage.gaussian_filter(voxels, 0.5) < (space.fluid + space.white) / 2
    deep = space.depth_mm(space.brain) < -18.0
    parts, count = ndimage.label(box & dark & deep)
    sizes = np.bincount(parts.ravel())[1:]
    ventricles = np.isin(parts, 1 + np.flatnonzero(sizes >= 0.5 * sizes.max())) if count else box
    distance = ndimage.gaussian_filter(space.depth_mm(ventricles), 1.0)
    ordered = np.sort(distance[space.brain])
    most = _MOST_FLUID_MM3 / np.prod(space.spacing_mm)
    n_voxels = min(times * ventricles.sum(), max(most, 1.2 * ventricles.sum()))
    grown_mm = float(ordered[min(int(n_voxels), ordered.size - 1)])
    grown_mm = max(grown_mm, 0.5)
    reach = max(_REACH_MM, 3 * grown_mm)
    source = np.where(
        distance < reach, reach * (distance - grown_mm) / (reach - grown_mm), distance
    )
    step = np.stack(
        [np.gradient(distance, mm, axis=axis) for axis, mm in enumerate(space.spacing_mm)]
    )
    step /= np.maximum(np.linalg.norm(step, axis=0), 0.3)
    # Nothing moves outside the brain.
    fade = np.clip(-space.depth_mm(space.brain) / 8.0, 0.0, 1.0)
    moved = (distance - np.maximum(source, 0.0)) * fade
    index = np.stack(np.indices(voxels.shape)).astype(np.float64)
    for axis, mm in enumerate(space.spacing_mm):
        index[axis] -= step[axis] * moved / mm
    deformed: FloatArray = ndimage.map_coordinates(voxels, index, order=1, mode="nearest")
    wet = np.clip((grown_mm - distance) / 2.0 + 0.5, 0.0, 1.0) * (fade > 0)
    return (deformed * (1 - wet) + space.fluid * wet).astype(np.float32)


def _widened_sulci(voxels: FloatArray, space: _Space, width_mm: float) -> FloatArray:
    """Widen what is dark at the brain's surface."""
    depth = -space.depth_mm(space.brain)
    size = [max(1, 2 * round(width_mm / mm / 2) + 1) for mm in space.spacing_mm]
    eroded = ndimage.gaussian_filter(ndimage.grey_erosion(voxels, size=size), 0.6)
    share = np.clip((22.0 - depth) / 8.0, 0.0, 1.0) * space.brain
    return (voxels * (1 - share) + eroded * share).astype(np.float32)


def _contrast(voxels: FloatArray, space: _Space, how: str, draw: np.random.Generator) -> FloatArray:
    low, high = float(voxels.min()), float(voxels.max())
    if how.startswith("gamma"):
        unit = (voxels - low) / (high - low)
        return (low + (high - low) * unit ** float(how.removeprefix("gamma"))).astype(np.float32)
    if how == "scalp2":
        # Fat that shines: everything outside the brain twice as bright.
        outside = np.clip(space.depth_mm(space.brain) / 6.0 - 0.5, 0.0, 1.0)
        return (low + (voxels - low) * (1 + outside)).astype(np.float32)
    strength = float(how.removeprefix("bias")) / 100
    direction = draw.normal(size=3)
    direction /= np.linalg.norm(direction)
    # The brain's two ends differ by the strength.
    ramp = np.tensordot(direction, space.at_mm, axes=1) / _BRAIN_MM
    return (voxels * (1 + strength) ** np.clip(ramp, -1, 1)).astype(np.float32)


def _noisy(
    voxels: FloatArray, white: float, percent: float, draw: np.random.Generator
) -> FloatArray:
    sd = percent / 100 * white
    real = voxels + draw.normal(0, sd, voxels.shape)
    noisy: FloatArray = np.hypot(real, draw.normal(0, sd, voxels.shape)).astype(np.float32)
    return noisy


def _cavity(
    voxels: FloatArray, space: _Space, millilitres: float, draw: np.random.Generator
) -> FloatArray:
    """Put a ball of fluid into one hemisphere."""
    radius_mm = (3 * millilitres * 1000 / 4 / np.pi) ** (1 / 3)
    middle = np.array([draw.choice([-1, 1]) * 32.0, draw.uniform(-45, 20), draw.uniform(15, 35)])
    away = np.sqrt(((space.at_mm - middle[:, None, None, None]) ** 2).sum(axis=0))
    share = np.clip((radius_mm - away) / 2 + 0.5, 0, 1) * space.brain
    return (voxels * (1 - share) + space.fluid * share).astype(np.float32)


def _lesions(
    voxels: FloatArray, space: _Space, millilitres: float, draw: np.random.Generator
) -> FloatArray:
    """Scatter dark spots of 4 to 8 mm radius over the white matter's depth."""
    share = np.zeros(voxels.shape, dtype=np.float32)
    radii = draw.uniform(4, 8, 200)
    count = int(np.searchsorted(np.cumsum(4 / 3 * np.pi * radii**3), millilitres * 1000)) + 1
    for radius in radii[:count]:
        middle = draw.uniform((-40, -70, 0), (40, 40, 45))
        away = np.sqrt(((space.at_mm - middle[:, None, None, None]) ** 2).sum(axis=0))
        share = np.maximum(share, np.clip((radius - away) / 2 + 0.5, 0, 1)).astype(np.float32)
    share *= space.brain
    dark = 0.55 * space.white
    return (voxels * (1 - share) + np.minimum(voxels, dark) * share).astype(np.float32)
