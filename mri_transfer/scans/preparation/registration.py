"""Affine registration of a head to the template brain, from coarse to fine.

1. The scan's signal is made level (`preparation.levelling`): scalp no longer outshines the brain.
2. Guesses of where the brain lies (`preparation.pose`) are moved rigidly (8 mm); the best one in
   the header's orientation and the best of all others are then registered affinely (4 mm).
   Mattes' mutual information (Mattes et al. 2003, IEEE Trans. Med. Imaging 22:120-128) inside the
   outline of the aged template decides. The header is overruled by a clear margin only.
3. Where that leaves doubt, every orientation is tried from more starts. This takes some 15 s more.
4. The winner is refined at 2 mm on the template itself.

Only voxels inside the template's outline and a rim around it count, so that neck and scalp do not
pull. The rigid step comes before the affine one, and a trial that ends with a brain much larger
than the template's is marked down: the template can otherwise settle between skull and scalp.
Everything runs on one thread, without random numbers: sums over threads depend on their number, and
so would the result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.aged_template import aged_template_at
from mri_transfer.scans.preparation.levelling import LEVEL_SPACING_MM, level
from mri_transfer.scans.preparation.pose import (
    SEARCH_SPACING_MM,
    TURNS,
    Pose,
    crown_poses,
    find_poses,
    head_positions_mm,
)
from mri_transfer.scans.preparation.template import (
    CENTRE_LPS_MM,
    itk_affine,
    load_template,
    ras_matrix,
    template_at,
    to_spacing,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = [
    "Alignment",
    "Trial",
    "align",
    "choose_orientation",
    "fit_rigidly",
    "one_thread",
]

Matrix = npt.NDArray[np.float64]

_RIGID_MM, _AFFINE_MM, _FINE_MM = SEARCH_SPACING_MM, 4.0, LEVEL_SPACING_MM
#: Starts in the header's orientation, and other turns that may contest it.
_HEADER_STARTS, _OTHER_TURNS = 4, 4
#: The same where the first search leaves doubt: starts of each other turn, and how many of both
#: are registered affinely.
_TURNED_STARTS, _HEADER_REFINED, _TURNED_REFINED = 3, 4, 3
#: A first search that ends with less mutual information (nats) or a smaller margin leaves doubt.
_POOR_INFORMATION, _CLEAR_MARGIN = 0.40, 0.10
#: By how much content must exceed the header's orientation to overrule it, in nats.
_OVERRULING_MARGIN = 0.12
#: Volume of a brain over the template's that hardly occurs, and what more than that costs in nats
#: per unit of its logarithm. The template is larger than nearly all brains (Evans et al. 2012).
_LARGEST_RATIO, _SIZE_PENALTY = 1.1, 2.0
_BINS = 32
#: Share of the outline's voxels that the last step looks at, evenly spread.
_FINE_SHARE = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """Where the template's brain lies in a scan.

    Parameters
    ----------
    matrix : ndarray of float64, shape (4, 4)
        Template position to scan position, both RAS mm.
    turn : int
        Position in `TURNS` of the turn that the content shows against the header's directions; 0
        if they agree.
    tilt_deg : float
        Rotation that is left when the turn is taken off, 0 to 90.
    information : float
        Mutual information with the aged template at 4 mm, in nats.
    lead : float
        By how much that exceeds the best rival orientation's. Negative where the header's
        orientation is kept although another one fits slightly better.
    """

    matrix: Matrix
    turn: int
    tilt_deg: float
    information: float
    lead: float

    @property
    def volume_ratio(self) -> float:
        """Volume of the scan's brain over the template's."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run SimpleITK on one thread inside the block."""
    import SimpleITK as sitk

    count = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)


def align(image: sitk.Image) -> Alignment:
    """Register the template brain to a scan.

    Parameters
    ----------
    image : SimpleITK.Image, float32
        A head or a brain.

    Returns
    -------
    Alignment
    """
    with one_thread():
        images = _Pyramid.of(image)
        poses = find_poses(images.coarse)
        chosen, rival = _search(images, poses)
        if chosen.information < _POOR_INFORMATION or _margin(chosen, rival) < _CLEAR_MARGIN:
            chosen, rival = _search_further(images, poses, [chosen, rival])
        _, moved = _affine(
            images.fine,
            itk_affine(chosen.matrix),
            template_at(_FINE_MM),
            iterations=60,
            step_mm=1.0,
            share=_FINE_SHARE,
        )
    matrix = ras_matrix(moved)
    turn, tilt_deg = _nearest_turn(matrix)
    return Alignment(
        matrix=matrix,
        turn=turn,
        tilt_deg=tilt_deg,
        information=chosen.information,
        lead=_margin(chosen, rival),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Pyramid:
    """A scan's levelled signal at the resolutions of the search."""

    coarse: sitk.Image
    middle: sitk.Image
    fine: sitk.Image

    @functools.cached_property
    def head_mm(self) -> Matrix:
        """Positions inside the head, for the starts below its crown."""
        return head_positions_mm(self.coarse)

    @classmethod
    def of(cls, image: sitk.Image) -> _Pyramid:
        fine = level(image)
        return cls(
            coarse=to_spacing(fine, _RIGID_MM), middle=to_spacing(fine, _AFFINE_MM), fine=fine
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """A pose after it was registered.

    Parameters
    ----------
    turn : int
        Position in `TURNS` of the orientation in which it ended.
    information : float
        Mutual information with the aged template, in nats.
    matrix : ndarray of float64, shape (4, 4)
        Template position to scan position, both RAS mm.
    """

    turn: int
    information: float
    matrix: Matrix

    @property
    def merit(self) -> float:
        """The information, less what an implausible size costs."""
        ratio = float(abs(np.linalg.det(self.matrix[:3, :3])))
        too_large = max(0.0, math.log(max(ratio, 1e-6) / _LARGEST_RATIO))
        return self.information - _SIZE_PENALTY * too_large


_NO_RIVAL = Trial(turn=-1, information=0.0, matrix=np.eye(4))


def _search(images: _Pyramid, poses: list[Pose]) -> tuple[Trial, Trial]:
    """Register the header's orientation and the best of the others; return winner and rival."""
    turns = list(dict.fromkeys(pose.turn for pose in poses if pose.turn != 0))
    upright = _best([_rigid(images, pose) for pose in _starts(images, poses, 0)[:_HEADER_STARTS]])
    others = [
        _rigid(images, next(pose for pose in poses if pose.turn == turn))
        for turn in turns[:_OTHER_TURNS]
    ]
    return choose_orientation([_refined(images, upright), _refined(images, _best(others))])


def _search_further(images: _Pyramid, poses: list[Pose], known: list[Trial]) -> tuple[Trial, Trial]:
    """Register from every plausible start: what looks unlike the template takes longer."""
    upright = [_rigid(images, pose) for pose in _starts(images, poses, 0)]
    turned = [
        _best([_rigid(images, pose) for pose in _starts(images, poses, turn)[:_TURNED_STARTS]])
        for turn in range(1, len(TURNS))
    ]
    likely = sorted(upright, key=lambda trial: -trial.merit)[:_HEADER_REFINED]
    likely += sorted(turned, key=lambda trial: -trial.merit)[:_TURNED_REFINED]
    known = [trial for trial in known if trial is not _NO_RIVAL]
    return choose_orientation([*known, *(_refined(images, trial) for trial in likely)])


def _starts(images: _Pyramid, poses: list[Pose], turn: int) -> list[Pose]:
    """Return the poses of an orientation: the likeliest positions and the crown's, alternating."""
    slid = [pose for pose in poses if pose.turn == turn]
    crown = crown_poses(images.head_mm, turn)
    both = [pose for pair in zip(slid, crown, strict=False) for pose in pair]
    return both + slid[len(crown) :]


def _best(trials: list[Trial]) -> Trial:
    return max(trials, key=lambda trial: trial.merit)


def choose_orientation(trials: list[Trial]) -> tuple[Trial, Trial]:
    """Choose between the header's orientation and the others.

    The header is strong evidence: content overrules it by a clear margin only.

    Parameters
    ----------
    trials : list of Trial
        At least one.

    Returns
    -------
    chosen, rival : Trial
        The best trial of the orientation that is chosen, and the best of all others. Without any
        other, the rival's orientation is -1 and its information 0.
    """
    upright = [trial for trial in trials if trial.turn == 0]
    others = [trial for trial in trials if trial.turn != 0]
    # Registration may end in another orientation than the one it started from.
    if not others:
        return _best(upright), _NO_RIVAL
    if not upright:
        return _best(others), _NO_RIVAL
    best, other = _best(upright), _best(others)
    overruled = _margin(other, best) > _OVERRULING_MARGIN
    return (other, best) if overruled else (best, other)


def _margin(chosen: Trial, rival: Trial) -> float:
    return chosen.merit - rival.merit


def _rigid(images: _Pyramid, pose: Pose) -> Trial:
    information, placed = fit_rigidly(
        aged_template_at(_RIGID_MM), _outline(_RIGID_MM), images.coarse, pose.matrix
    )
    return Trial(turn=pose.turn, information=information, matrix=placed)


def _refined(images: _Pyramid, trial: Trial) -> Trial:
    information, moved = _affine(
        images.middle,
        itk_affine(trial.matrix),
        aged_template_at(_AFFINE_MM),
        iterations=100,
        step_mm=2.0,
    )
    matrix = ras_matrix(moved)
    return Trial(turn=_nearest_turn(matrix)[0], information=information, matrix=matrix)


@functools.cache
def _outline(spacing_mm: float) -> sitk.Image:
    """Return the template's outline with its rim at a resolution."""
    import SimpleITK as sitk

    outline = sitk.Cast(load_template().mask, sitk.sitkFloat32)
    return sitk.BinaryDilate(to_spacing(outline, spacing_mm) > 0.5, [1, 1, 1])


def _method(
    mask: sitk.Image, *, iterations: int, step_mm: float, share: float | None = None
) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(mask)
    if share is not None:
        # Regular sampling takes every n-th voxel; the seed is for its sub-voxel shift.
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(share, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(step_mm, 1e-3, iterations, 0.6, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def fit_rigidly(
    fixed: sitk.Image, mask: sitk.Image, moving: sitk.Image, start: Matrix
) -> tuple[float, Matrix]:
    """Move the fixed picture rigidly, before it is placed in the moving one.

    Parameters
    ----------
    fixed, mask, moving : SimpleITK.Image
        The mask (uint8) says which voxels of `fixed` count.
    start : ndarray of float64, shape (4, 4)
        Position in `fixed` to position in `moving`, both RAS mm.

    Returns
    -------
    information : float
        Mutual information in nats.
    matrix : ndarray of float64, shape (4, 4)
        The better placement.
    """
    import SimpleITK as sitk

    method = _method(mask, iterations=60, step_mm=4.0)
    motion = sitk.Euler3DTransform()
    motion.SetCenter(CENTRE_LPS_MM)
    method.SetMovingInitialTransform(itk_affine(start))
    method.SetInitialTransform(motion, inPlace=True)
    method.Execute(fixed, moving)
    return -float(method.GetMetricValue()), start @ ras_matrix(motion)


def _affine(
    image: sitk.Image,
    start: Any,
    fixed: sitk.Image,
    *,
    iterations: int,
    step_mm: float,
    share: float | None = None,
) -> tuple[float, Any]:
    """Refine all twelve parameters; return the mutual information and the transform."""
    mask = _outline(fixed.GetSpacing()[0])
    method = _method(mask, iterations=iterations, step_mm=step_mm, share=share)
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, image)
    return -float(method.GetMetricValue()), start


def _nearest_turn(matrix: Matrix) -> tuple[int, float]:
    """Return the turn nearest to a matrix's rotation, and the angle between the two in degrees."""
    from scipy.linalg import polar
    from scipy.spatial.transform import Rotation

    rotation, _ = polar(matrix[:3, :3])
    angles = [Rotation.from_matrix(turn.T @ rotation).magnitude() for turn in TURNS]
    nearest = int(np.argmin(angles))
    return nearest, float(np.degrees(angles[nearest]))
