"""Initial poses of the head in a scan, estimated from its content as starts for registration.

Two kinds of poses are computed for each of the 24 rotations of a cube:

- `find_poses` matches a low-resolution copy of the template brain, at several pitches of the head,
  with the scan. The fast Fourier transform gives the normalised cross-correlation inside the
  template's outline for all positions at once (Padfield 2012, IEEE Trans. Image Process.
  21:2706-2718).
- `crown_poses` uses only the head's outline: the brain is below the crown, midway between the
  sides. This also works if the brain does not resemble the template.

The header's orientation is not used, so that a contradiction between header and content can be
detected. A left-right flip cannot be detected, as heads are nearly symmetric.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.aged_template import aged_template_at
from mri_transfer.scans.preparation.levelling import head_mask
from mri_transfer.scans.preparation.template import (
    CENTRE_LPS_MM,
    affine_of_image,
    array_of_image,
    image_of_array,
    load_template,
    ras_matrix,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = [
    "SEARCH_SPACING_MM",
    "TURNS",
    "TURN_WORDS",
    "Pose",
    "Probe",
    "crown_poses",
    "head_positions_mm",
    "find_poses",
    "slide",
]

Matrix: TypeAlias = npt.NDArray[np.float64]
FloatArray: TypeAlias = npt.NDArray[np.float32]

#: Voxel size of the search.
SEARCH_SPACING_MM = 8.0

_BOX = (26, 30, 26)  # voxels that contain the template at any pitch
#: Pitch of the head in the scanner: positive angles raise the chin.
_PITCHES_DEG = (-25.0, -12.5, 0.0, 12.5, 25.0)
#: The template is larger than almost all brains (Evans et al. 2012, NeuroImage 62:911-922).
_SCALE = 0.86
#: Minimum local variance, as a fraction of the whole scan's, for a meaningful correlation.
_MIN_VARIANCE = 1e-2
#: Poses from the crown: scale and pitch of the template; its top, the thickness of scalp and skull
#: above it, and the distance from the crown to the widest part of the head.
_CROWN_SCALES, _CROWN_PITCHES_DEG = (0.82, 0.92), (10.0, -10.0)
_TEMPLATE_TOP_MM, _SKULL_MM, _WIDEST_MM = 80.0, 12.0, 110.0


def _turns() -> tuple[Matrix, ...]:
    """Return the 24 rotations that map axes onto axes; the first is the identity."""
    matrices = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                matrices.append(matrix)
    return tuple(matrices)


#: The 24 rotations of a cube as matrices (3, 3), the identity first.
TURNS = _turns()

_DIRECTIONS = ("right", "left"), ("front", "back"), ("top", "bottom")


def _in_words(turn: Matrix) -> str:
    """Describe where a rotation takes the head's right, front and top; empty for the identity."""
    if (turn == np.eye(3)).all():
        return ""
    moved = []
    for axis, (positive, _) in enumerate(_DIRECTIONS):
        target = int(np.abs(turn[:, axis]).argmax())
        lies_at = _DIRECTIONS[target][int(turn[target, axis] < 0)]
        if lies_at != positive:
            moved.append(f"{positive} where the header says {lies_at}")
    return "the head's " + ", ".join(moved)


#: Description of each of `TURNS`; empty for the first.
TURN_WORDS = tuple(_in_words(turn) for turn in TURNS)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """An initial pose of the template in a scan.

    Parameters
    ----------
    turn : int
        Index into `TURNS`: orientation of the head relative to the scan's axes.
    pitch_deg : float
        Pitch of the head.
    matrix : ndarray of float64, shape (4, 4)
        Template position to scan position, both RAS mm.
    correlation : float or None
        Normalised cross-correlation inside the template's outline, -1 to 1; None for a pose from
        the head's outline.
    """

    turn: int
    pitch_deg: float
    matrix: Matrix
    correlation: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """An image to match with another one: its weights, and its deviation from the mean.

    Parameters
    ----------
    weight : ndarray of float32, shape (X, Y, Z)
        Sums to 1.
    deviation : ndarray of float32, shape (X, Y, Z)
        Signal minus its weighted mean, times the weight.
    spread : float
        Weighted variance of the signal.
    """

    weight: FloatArray
    deviation: FloatArray
    spread: float

    @classmethod
    def of(cls, signal: FloatArray, outline: npt.NDArray[np.bool_]) -> Probe:
        """Return a probe of an image inside an outline."""
        weight = (outline / outline.sum()).astype(np.float32)
        centred = signal - np.float32((weight * signal).sum())
        return cls(
            weight=weight,
            deviation=np.asarray(weight * centred, dtype=np.float32),
            spread=float((weight * centred**2).sum()),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Nod:
    """The template at one pitch, on a small grid."""

    pitch_deg: float
    probe: Probe
    to_template: Matrix  # probe voxel to template RAS mm


@functools.cache
def _nods() -> tuple[_Nod, ...]:
    return tuple(_nod(pitch) for pitch in _PITCHES_DEG)


def _nod(pitch_deg: float) -> _Nod:
    import SimpleITK as sitk
    from scipy import ndimage

    centre = np.array(CENTRE_LPS_MM) * (-1, -1, 1)
    affine = np.diag([SEARCH_SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = centre - (np.array(_BOX) - 1) / 2 * SEARCH_SPACING_MM
    grid = image_of_array(np.zeros(_BOX, dtype=np.float32), affine)
    nod = sitk.Similarity3DTransform()
    nod.SetCenter(CENTRE_LPS_MM)
    nod.SetRotation((1.0, 0.0, 0.0), math.radians(pitch_deg))
    nod.SetScale(1.0 / _SCALE)
    signal = array_of_image(sitk.Resample(aged_template_at(SEARCH_SPACING_MM), grid, nod))
    mask = sitk.Resample(sitk.Cast(load_template().mask, sitk.sitkFloat32), grid, nod)
    # The dark rim of fluid and bone is included: it distinguishes a brain from a ball.
    outline = ndimage.binary_dilation(array_of_image(mask) > 0.5)
    return _Nod(
        pitch_deg=pitch_deg,
        probe=Probe.of(signal, outline),
        to_template=ras_matrix(nod) @ affine,
    )


def find_poses(image: sitk.Image) -> list[Pose]:
    """Find the best position for every orientation and pitch.

    Parameters
    ----------
    image : SimpleITK.Image
        The scan at `SEARCH_SPACING_MM`.

    Returns
    -------
    list of Pose
        One per orientation and pitch, in descending order of correlation.
    """
    field, to_world = array_of_image(image), affine_of_image(image)
    scored = []
    for nod in _nods():
        for turn, (correlation, placed) in enumerate(slide(field, nod.probe)):
            matrix = to_world @ placed @ np.linalg.inv(nod.to_template)
            pose = Pose(turn=turn, pitch_deg=nod.pitch_deg, matrix=matrix, correlation=correlation)
            scored.append((correlation, pose))
    # A stable sort: ties keep the order of pitches and orientations.
    return [pose for _, pose in sorted(scored, key=lambda pair: -pair[0])]


def head_positions_mm(image: sitk.Image) -> Matrix:
    """Return the centres of the head's voxels, RAS mm, shape (n, 3)."""
    affine = affine_of_image(image)
    return np.argwhere(head_mask(image)) @ affine[:3, :3].T + affine[:3, 3]


def crown_poses(head_mm: Matrix, turn: int) -> list[Pose]:
    """Return poses of the template below the crown of the head, for one orientation.

    Parameters
    ----------
    head_mm : ndarray of float64, shape (n, 3)
        Positions inside the head (`head_positions_mm`), at `SEARCH_SPACING_MM`.
    turn : int
        Index into `TURNS`.

    Returns
    -------
    list of Pose
        One per scale and pitch.
    """
    upright_mm = head_mm @ TURNS[turn]
    crown_mm = float(np.percentile(upright_mm[:, 2], 99.8)) + SEARCH_SPACING_MM / 2
    upper = upright_mm[upright_mm[:, 2] > crown_mm - _WIDEST_MM, :2]
    middle_mm = np.percentile(upper, (1, 99), axis=0).mean(axis=0)
    centre = np.array(CENTRE_LPS_MM) * (-1, -1, 1)
    poses = []
    for scale, pitch_deg in itertools.product(_CROWN_SCALES, _CROWN_PITCHES_DEG):
        angle = math.radians(pitch_deg)
        nod = np.array(
            [
                [1.0, 0.0, 0.0],
                [0.0, math.cos(angle), -math.sin(angle)],
                [0.0, math.sin(angle), math.cos(angle)],
            ]
        )
        below_mm = _SKULL_MM + scale * (_TEMPLATE_TOP_MM - centre[2])
        matrix = np.eye(4)
        matrix[:3, :3] = TURNS[turn] @ nod * scale
        target = TURNS[turn] @ np.array([*middle_mm, crown_mm - below_mm])
        matrix[:3, 3] = target - matrix[:3, :3] @ centre
        poses.append(Pose(turn=turn, pitch_deg=pitch_deg, matrix=matrix))
    return poses


def slide(field: FloatArray, probe: Probe) -> list[tuple[float, Matrix]]:
    """Match a probe with a field in all orientations and at all positions.

    Parameters
    ----------
    field : ndarray of float32, shape (X, Y, Z)
    probe : Probe
        Its shape may differ from the field's.

    Returns
    -------
    list of (float, ndarray of shape (4, 4))
        For each of `TURNS`, the highest normalised cross-correlation and the corresponding map
        from the probe's voxels to the field's.
    """
    from scipy import fft

    field = field / max(float(field.std()), float(np.finfo(np.float32).tiny))
    size = max(probe.weight.shape)
    shape = [int(fft.next_fast_len(n + size, real=True)) for n in field.shape]
    spectra = fft.rfftn(field, shape), fft.rfftn(field * field, shape)
    best = []
    for rotation in TURNS:
        correlation = _correlate(spectra, probe, rotation, shape)
        peak = np.unravel_index(int(correlation.argmax()), correlation.shape)
        # Positions beyond the field's end wrap around to negative ones.
        shift = [
            at if at < n else at - whole
            for at, n, whole in zip(peak, field.shape, shape, strict=True)
        ]
        placed = _placement(rotation, np.array(shift, dtype=float), probe.weight.shape)
        best.append((float(correlation[peak]), placed))
    return best


def _correlate(
    spectra: tuple[npt.NDArray[np.complex64], npt.NDArray[np.complex64]],
    probe: Probe,
    rotation: Matrix,
    shape: list[int],
) -> FloatArray:
    """Return the normalised cross-correlation with a field of variance 1 at every shift."""
    from scipy import fft

    signal, squared = spectra
    weight = np.conj(fft.rfftn(_turned(probe.weight, rotation), shape))
    deviation = np.conj(fft.rfftn(_turned(probe.deviation, rotation), shape))
    covariance = fft.irfftn(signal * deviation, shape)
    mean = fft.irfftn(signal * weight, shape)
    variance = np.maximum(fft.irfftn(squared * weight, shape) - mean**2, _MIN_VARIANCE)
    correlation: FloatArray = covariance / np.sqrt(variance * probe.spread)
    return correlation


def _turned(array: FloatArray, rotation: Matrix) -> FloatArray:
    """Return a rotated array: `new[R @ i] = old[i]`, with reversed axes indexed from their end."""
    order = np.abs(rotation).argmax(axis=1)
    turned = array.transpose(order)
    backwards = rotation[range(3), order] < 0
    steps = tuple(slice(None, None, -1 if back else 1) for back in backwards)
    return np.ascontiguousarray(turned[steps])


def _placement(rotation: Matrix, shift: Matrix, shape: tuple[int, ...]) -> Matrix:
    """Return the map from probe voxel to field voxel for a rotated and shifted probe."""
    placed = np.eye(4)
    placed[:3, :3] = rotation
    last = np.array(shape, dtype=float) - 1
    # A reversed axis is indexed from its last voxel.
    placed[:3, 3] = shift - np.minimum(rotation * last, 0).sum(axis=1)
    return placed
