"""Where the head may lie in a scan: guesses from its content, to be registered from.

Two kinds of guess are made for each of the 24 turns of a cube:

- `find_poses` slides a low-resolution copy of the template brain, at several nods of the head, over
  the scan. Normalised cross-correlation inside the template's outline is computed for every
  position at once by the fast Fourier transform (Padfield 2012, IEEE Trans. Image Process.
  21:2706-2718).
- `crown_poses` uses the head's outline alone: the brain lies below the crown, midway between the
  sides. It holds where the brain looks unlike the template.

What the header says about directions is not used here: that is how a scan whose header and content
disagree is noticed. A left-right mirror image cannot be told from the original: a head looks alike
in both.
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

_BOX = (26, 30, 26)  # voxels that hold the template at any nod
#: Heads nod in scanners: positive angles raise the chin.
_PITCHES_DEG = (-25.0, -12.5, 0.0, 12.5, 25.0)
#: The template is larger than nearly all brains (Evans et al. 2012, NeuroImage 62:911-922).
_SCALE = 0.86
#: Where a scan varies less than this share of its whole variance, a correlation means nothing.
_MIN_VARIANCE = 1e-2
#: Guesses from the crown: scale and nod of the template. Its own top, the thickness of scalp and
#: skull above it, and how far below the crown the widest part of the head lies.
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


#: The 24 turns of a cube as matrices (3, 3), the identity first.
TURNS = _turns()

_DIRECTIONS = ("right", "left"), ("front", "back"), ("top", "bottom")


def _in_words(turn: Matrix) -> str:
    """Say where a turn takes the head's right, front and top; nothing for the identity."""
    if (turn == np.eye(3)).all():
        return ""
    places = []
    for axis, (positive, _) in enumerate(_DIRECTIONS):
        target = int(np.abs(turn[:, axis]).argmax())
        lies_at = _DIRECTIONS[target][int(turn[target, axis] < 0)]
        if lies_at != positive:
            places.append(f"{positive} where the header says {lies_at}")
    return "the head's " + ", ".join(places)


#: What each of `TURNS` means for a scan, in words; empty for the first.
TURN_WORDS = tuple(_in_words(turn) for turn in TURNS)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """A guess of where the template lies in a scan.

    Parameters
    ----------
    turn : int
        Position in `TURNS`: how the head lies against the scan's axes.
    pitch_deg : float
        Nod of the head.
    matrix : ndarray of float64, shape (4, 4)
        Template position to scan position, both RAS mm.
    correlation : float or None
        Normalised cross-correlation inside the template's outline, -1 to 1; None for a guess from
        the head's outline.
    """

    turn: int
    pitch_deg: float
    matrix: Matrix
    correlation: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """A picture that is slid over another one: what counts, and how it deviates from its mean.

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
        """Make a probe of what a picture shows inside an outline."""
        weight = (outline / outline.sum()).astype(np.float32)
        centred = signal - np.float32((weight * signal).sum())
        return cls(
            weight=weight,
            deviation=np.asarray(weight * centred, dtype=np.float32),
            spread=float((weight * centred**2).sum()),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Nod:
    """The template at one nod, on a small grid."""

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
    # The dark rim of fluid and bone counts: it is what tells a brain from a ball.
    outline = ndimage.binary_dilation(array_of_image(mask) > 0.5)
    return _Nod(
        pitch_deg=pitch_deg,
        probe=Probe.of(signal, outline),
        to_template=ras_matrix(nod) @ affine,
    )


def find_poses(image: sitk.Image) -> list[Pose]:
    """Find the likeliest position for every turn and nod.

    Parameters
    ----------
    image : SimpleITK.Image
        The scan at `SEARCH_SPACING_MM`.

    Returns
    -------
    list of Pose
        One a turn and nod, the best correlation first.
    """
    field, to_world = array_of_image(image), affine_of_image(image)
    found = []
    for nod in _nods():
        for turn, (correlation, placed) in enumerate(slide(field, nod.probe)):
            matrix = to_world @ placed @ np.linalg.inv(nod.to_template)
            pose = Pose(turn=turn, pitch_deg=nod.pitch_deg, matrix=matrix, correlation=correlation)
            found.append((correlation, pose))
    # A stable sort: equal correlations keep the order of nods and turns.
    return [pose for _, pose in sorted(found, key=lambda pair: -pair[0])]


def head_positions_mm(image: sitk.Image) -> Matrix:
    """Return the centres of the head's voxels, RAS mm, shape (n, 3)."""
    affine = affine_of_image(image)
    return np.argwhere(head_mask(image)) @ affine[:3, :3].T + affine[:3, 3]


def crown_poses(head_mm: Matrix, turn: int) -> list[Pose]:
    """Place the template below the crown of the head, which a turn says where to look for.

    Parameters
    ----------
    head_mm : ndarray of float64, shape (n, 3)
        Positions inside the head (`head_positions_mm`), at `SEARCH_SPACING_MM`.
    turn : int
        Position in `TURNS`.

    Returns
    -------
    list of Pose
        One a scale and nod.
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
        there = TURNS[turn] @ np.array([*middle_mm, crown_mm - below_mm])
        matrix[:3, 3] = there - matrix[:3, :3] @ centre
        poses.append(Pose(turn=turn, pitch_deg=pitch_deg, matrix=matrix))
    return poses


def slide(field: FloatArray, probe: Probe) -> list[tuple[float, Matrix]]:
    """Slide a probe over a field in all turns.

    Parameters
    ----------
    field : ndarray of float32, shape (X, Y, Z)
    probe : Probe
        Its shape may be another one.

    Returns
    -------
    list of (float, ndarray of shape (4, 4))
        For each of `TURNS` the best normalised cross-correlation and the map from the probe's
        voxels to the field's at which it is reached.
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
        # Positions beyond the field's end are those before its beginning.
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
    """Return an array whose axes are turned: `new[R @ i] = old[i]`, indices counted from an end."""
    order = np.abs(rotation).argmax(axis=1)
    turned = array.transpose(order)
    backwards = rotation[range(3), order] < 0
    steps = tuple(slice(None, None, -1 if back else 1) for back in backwards)
    return np.ascontiguousarray(turned[steps])


def _placement(rotation: Matrix, shift: Matrix, shape: tuple[int, ...]) -> Matrix:
    """Return the map from probe voxel to field voxel for a turned and shifted probe."""
    placed = np.eye(4)
    placed[:3, :3] = rotation
    last = np.array(shape, dtype=float) - 1
    # An axis that is reversed counts from its last voxel.
    placed[:3, 3] = shift - np.minimum(rotation * last, 0).sum(axis=1)
    return placed
