"""A made-up whole head: the template's brain in a dark skull and a bright scalp, with a neck.

It is grown with scipy on coarse voxels, by its own arithmetic (RAS from end to end): what
SimpleITK and `mri_transfer.scans.preparation` make of it is compared with what was put in.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mri_transfer.scans.preparation import PreparationSpec, PreparedScan, prepare_scan
from mri_transfer.scans.preparation.registration import Alignment
from mri_transfer.scans.volumes import Volume

__all__ = [
    "EASY_POSE",
    "HeadPhantom",
    "aligned_head",
    "grow_brain",
    "grow_head",
    "in_place_head",
    "placement_error_mm",
    "pose_matrix",
    "prepared_head",
    "some_brain",
    "some_head",
    "stored_otherwise",
    "turned_content",
    "turned_header",
]

FloatArray = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

#: Voxel size of the pictures that phantoms are sampled from, and room around the template in it.
_PICTURE_MM, _ROOM = 2, 20
#: Distance from the brain at which bone ends and skin begins, and where the head ends.
_BONE_MM, _SKIN_MM = 7.0, 15.0
_BONE, _SKIN, _NECK = 0.06, 1.1, 0.45
#: The brain's own middle, about which poses turn (RAS).
_MIDDLE_MM = np.array([0.0, -18.0, 8.0])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HeadPhantom:
    """A scan whose content is known.

    Parameters
    ----------
    volume : Volume
        Voxels (X, Y, Z) in RAS+, 0 to about 1000.
    matrix : ndarray of float64, shape (4, 4)
        Template position to scan position, both RAS mm.
    brain : ndarray of bool, shape (X, Y, Z)
    field : ndarray of float32, shape (X, Y, Z)
        The bias field that multiplies the signal.
    """

    volume: Volume
    matrix: Matrix
    brain: npt.NDArray[np.bool_]
    field: FloatArray


def pose_matrix(
    *,
    angles_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scales: tuple[float, float, float] = (1.0, 1.0, 1.0),
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Matrix:
    """Return template to scan: scaled along its axes, turned about x, y, z, and shifted."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix() @ np.diag(
        scales
    )
    matrix[:3, 3] = np.asarray(shift_mm) + _MIDDLE_MM - matrix[:3, :3] @ _MIDDLE_MM
    return matrix


#: A head as scanners see it: a little nod and turn, smaller than the template, off the centre.
EASY_POSE = pose_matrix(angles_deg=(9, -4, 5), scales=(0.93, 0.9, 0.95), shift_mm=(6, -9, 14))


@functools.cache
def _pictures() -> tuple[FloatArray, FloatArray, Matrix]:
    """Return head and distance to the brain around the template, and their affine."""
    from nilearn import datasets

    loaded = datasets.load_mni152_template(resolution=1)
    mask = np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0
    # Every second voxel: their centres stay where they are.
    every = (slice(None, None, _PICTURE_MM),) * 3
    brain = np.pad(np.asarray(loaded.dataobj, dtype=np.float32)[every], _ROOM)
    inside = np.pad(mask[every], _ROOM)
    affine = np.asarray(loaded.affine) @ np.diag([_PICTURE_MM] * 3 + [1.0])
    affine[:3, 3] -= _ROOM * _PICTURE_MM
    distance = _PICTURE_MM * (
        ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    )
    head = np.where(inside, brain, 0.0)
    head[(distance > 2) & (distance <= _BONE_MM)] = _BONE
    head[(distance > _BONE_MM) & (distance <= _SKIN_MM)] = _SKIN
    x, y, z = (affine[axis, 3] + _PICTURE_MM * np.arange(n) for axis, n in enumerate(head.shape))
    neck = (x[:, None] ** 2 + (y[None] + 45) ** 2 < 50**2)[..., None] & (z < -55)
    head[neck & (distance > _SKIN_MM)] = _NECK
    return head.astype(np.float32), distance.astype(np.float32), affine


def _sampled(picture: FloatArray, positions: Matrix, spacing_mm: float) -> FloatArray:
    """Sample a picture at voxel positions (3, X, Y, Z), averaged over about one voxel."""
    smooth = ndimage.gaussian_filter(picture, max(0.4 * spacing_mm / _PICTURE_MM - 0.4, 0.0))
    sampled: FloatArray = ndimage.map_coordinates(smooth, positions, order=1, mode="nearest")
    return sampled


def grow_head(
    *,
    spacing_mm: float = 4.0,
    size_mm: tuple[float, float, float] = (200.0, 240.0, 232.0),
    middle_mm: Matrix | tuple[float, float, float] = (0.0, 0.0, 0.0),
    matrix: Matrix = EASY_POSE,
    skull: bool = True,
    bias: float = 0.25,
    noise: float = 0.02,
    seed: int = 0,
) -> HeadPhantom:
    """Grow a head, or a brain alone.

    Parameters
    ----------
    spacing_mm : float
    size_mm : tuple of float
        Field of view.
    middle_mm : tuple of float
        Its middle, RAS.
    matrix : ndarray of shape (4, 4)
        Template position to scan position, both RAS mm.
    skull : bool
        Without it everything around the brain is exactly 0.
    bias : float
        Largest deviation of the log of the smooth field that multiplies the signal.
    noise : float
        Standard deviation of the noise over the brightest tissue's signal; Rician, as in
        magnitude images.
    seed : int
        Of the noise.
    """
    shape = tuple(round(size / spacing_mm) for size in size_mm)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = middle_mm - (np.array(shape) - 1) / 2 * spacing_mm
    head, distance, there = _pictures()
    index = np.indices(shape).reshape(3, -1)
    to_picture = np.linalg.inv(there) @ np.linalg.inv(matrix) @ affine
    positions = (to_picture[:3, :3] @ index + to_picture[:3, 3:]).reshape(3, *shape)
    signal = _sampled(head, positions, spacing_mm)
    brain = _sampled(distance, positions, spacing_mm) < 0
    u, v, w = (np.linspace(-1, 1, n) for n in shape)
    wave = np.sin(1.2 * u)[:, None, None] + np.cos(1.5 * v)[None, :, None] - 0.8 * w
    field = np.exp(bias * wave / np.abs(wave).max()).astype(np.float32)
    rng = np.random.default_rng(seed)
    real, imaginary = noise * rng.standard_normal((2, *shape))
    voxels = np.hypot(signal * field + real, imaginary)
    if not skull:
        voxels[~brain] = 0.0
    return HeadPhantom(
        volume=_volume(1000 * voxels, affine), matrix=matrix, brain=brain, field=field
    )


def grow_brain(*, spacing_mm: float = 2.0, shift_mm: float = 0.0) -> Volume:
    """Grow a brain without skull in the template's space, but for a shift to the right."""
    return grow_head(
        spacing_mm=spacing_mm,
        size_mm=(200.0, 240.0, 200.0),
        middle_mm=_MIDDLE_MM,
        matrix=pose_matrix(shift_mm=(shift_mm, 0.0, 0.0)),
        skull=False,
        bias=0.0,
        noise=0.01,
    ).volume


@functools.cache
def some_head() -> HeadPhantom:
    """The head that many tests share, in `EASY_POSE`. Read only, like all that follow."""
    return grow_head(bias=0.8)


@functools.cache
def some_brain() -> Volume:
    """A brain without skull in the template's space, 2 mm."""
    return grow_brain()


@functools.cache
def in_place_head() -> HeadPhantom:
    """A head at 2 mm that lies in the template's space, so that nothing must be registered."""
    return grow_head(
        spacing_mm=2.0,
        size_mm=(200.0, 240.0, 200.0),
        matrix=np.eye(4),
        seed=1,
        middle_mm=_MIDDLE_MM,
    )


@functools.cache
def aligned_head() -> Alignment:
    """`some_head`, registered."""
    alignment = prepared_head().alignment
    assert alignment is not None
    return alignment


@functools.cache
def prepared_head() -> PreparedScan:
    """`some_head`, prepared with the defaults."""
    return prepare_scan(some_head().volume, PreparationSpec())


def placement_error_mm(found: Matrix, head: HeadPhantom) -> float:
    """Return how far a placement is off, on average over the brain, in the scan's mm."""
    there = head.volume.affine @ np.c_[np.argwhere(head.brain), np.ones(head.brain.sum())].T
    offset = found @ np.linalg.inv(head.matrix) @ there - there
    return float(np.linalg.norm(offset[:3], axis=0).mean())


def turned_header(volume: Volume, turn: Matrix) -> Volume:
    """Return a scan whose header is wrong by a turn: the head lies turned in its world."""
    affine = np.eye(4)
    affine[:3, :3] = turn
    return stored_otherwise(volume, affine @ volume.affine)


def turned_content(volume: Volume, turn: Matrix) -> Volume:
    """Return a scan whose content is turned while the header stays: `new[R i] = old[i]`."""
    order = np.abs(turn).argmax(axis=1)
    turned = volume.voxels.transpose(order)
    backwards = tuple(axis for axis in range(3) if turn[axis, order[axis]] < 0)
    return _volume(np.flip(turned, backwards), volume.affine)


def stored_otherwise(volume: Volume, affine: Matrix) -> Volume:
    """Return what a reader makes of the voxels with another affine: axes to RAS+ again."""
    import nibabel as nib

    image = nib.as_closest_canonical(nib.Nifti1Image(volume.voxels, affine))
    return _volume(np.asarray(image.dataobj), np.asarray(image.affine))


def _volume(voxels: npt.NDArray[np.generic], affine: Matrix) -> Volume:
    return Volume(
        voxels=np.ascontiguousarray(voxels, dtype=np.float32), affine=affine, scan_id="phantom"
    )
