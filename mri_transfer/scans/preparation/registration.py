"""Affine registration of a head to the template brain, from coarse to fine.

1. The scan's signal is levelled (`preparation.levelling`), as the scalp can be brighter than the
   brain.
2. Initial poses (`preparation.pose`) are registered rigidly (8 mm); the best in the header's
   orientation and the best of all others are then registered affinely (4 mm). The criterion is
   Mattes' mutual information (Mattes et al. 2003, IEEE Trans. Med. Imaging 22:120-128) inside the
   outline of the aged template. The header is only overruled by a clear margin.
3. If the result is uncertain, every orientation is tried from more starts, which takes about 15 s.
4. The best trial is refined at 2 mm on the template itself.

Only voxels inside the template's outline and a rim around it are used, so that neck and scalp have
no influence. Rigid registration precedes the affine one, and trials that end with a brain much
larger than the template's are penalised; otherwise the template can settle between skull and scalp.
Everything runs on one thread and without random numbers, as sums over threads, and thus the result,
would depend on their number.
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
#: Number of starts in the header's orientation, and of other orientations.
_HEADER_STARTS, _OTHER_TURNS = 4, 4
#: In the second search: starts per other orientation, and how many trials of the header's and of
#: other orientations are registered affinely.
_TURNED_STARTS, _HEADER_REFINED, _TURNED_REFINED = 3, 4, 3
#: Mutual information (nats) or margin below which the first search is uncertain.
_POOR_INFORMATION, _CLEAR_MARGIN = 0.40, 0.10
#: Margin in nats by which another orientation must exceed the header's to overrule it.
_OVERRULING_MARGIN = 0.12
#: Ratio of brain to template volume that is hardly ever exceeded, and the penalty in nats per unit
#: of the logarithm beyond. The template is larger than almost all brains (Evans et al. 2012).
_LARGEST_RATIO, _SIZE_PENALTY = 1.1, 2.0
_BINS = 32
#: Fraction of the outline's voxels sampled in the last step, on a regular grid.
_FINE_SHARE = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """Affine registration of the template's brain to a scan.

    Parameters
    ----------
    matrix : ndarray of float64, shape (4, 4)
        Template position to scan position, both RAS mm.
    turn : int
        Index into `TURNS`: orientation of the content relative to the header, 0 if they agree.
    tilt_deg : float
        Remaining rotation after this orientation is removed, 0 to 90.
    information : float
        Mutual information with the aged template at 4 mm, in nats.
    margin : float
        Margin over the second best orientation, in nats. Negative if the header's orientation is
        kept although another one fits slightly better.
    """

    matrix: Matrix
    turn: int
    tilt_deg: float
    information: float
    margin: float

    @property
    def volume_ratio(self) -> float:
        """Ratio of the scan's brain volume to the template's."""
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
        margin=_margin(chosen, rival),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Pyramid:
    """A scan's levelled signal at the resolutions of the search."""

    coarse: sitk.Image
    middle: sitk.Image
    fine: sitk.Image

    @functools.cached_property
    def head_mm(self) -> Matrix:
        """Positions inside the head, for the poses below its crown."""
        return head_positions_mm(self.coarse)

    @classmethod
    def of(cls, image: sitk.Image) -> _Pyramid:
        fine = level(image)
        return cls(
            coarse=to_spacing(fine, _RIGID_MM), middle=to_spacing(fine, _AFFINE_MM), fine=fine
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """A registered pose.

    Parameters
    ----------
    turn : int
        Index into `TURNS` of the final orientation.
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
        """The information minus the penalty for an implausible size."""
        ratio = float(abs(np.linalg.det(self.matrix[:3, :3])))
        too_large = max(0.0, math.log(max(ratio, 1e-6) / _LARGEST_RATIO))
        return self.information - _SIZE_PENALTY * too_large


_NO_RIVAL = Trial(turn=-1, information=0.0, matrix=np.eye(4))


def _search(images: _Pyramid, poses: list[Pose]) -> tuple[Trial, Trial]:
    """Register the header's orientation and the best others; return the best and the second."""
    turns = list(dict.fromkeys(pose.turn for pose in poses if pose.turn != 0))
    upright = _best([_rigid(images, pose) for pose in _starts(images, poses, 0)[:_HEADER_STARTS]])
    others = [
        _rigid(images, next(pose for pose in poses if pose.turn == turn))
        for turn in turns[:_OTHER_TURNS]
    ]
    return choose_orientation([_refined(images, upright), _refined(images, _best(others))])


def _search_further(images: _Pyramid, poses: list[Pose], known: list[Trial]) -> tuple[Trial, Trial]:
    """Register from every plausible start, for scans unlike the template."""
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
    """Return the poses of an orientation, alternating matched ones and those from the crown."""
    slid = [pose for pose in poses if pose.turn == turn]
    crown = crown_poses(images.head_mm, turn)
    both = [pose for pair in zip(slid, crown, strict=False) for pose in pair]
    return both + slid[len(crown) :]


def _best(trials: list[Trial]) -> Trial:
    return max(trials, key=lambda trial: trial.merit)


def choose_orientation(trials: list[Trial]) -> tuple[Trial, Trial]:
    """Choose between the header's orientation and the others.

    The header is strong evidence: the content only overrules it by a clear margin.

    Parameters
    ----------
    trials : list of Trial
        At least one.

    Returns
    -------
    chosen, rival : Trial
        The best trial of the chosen orientation, and the best of all others. If there is no other,
        the rival's orientation is -1 and its information 0.
    """
    upright = [trial for trial in trials if trial.turn == 0]
    others = [trial for trial in trials if trial.turn != 0]
    # Registration may end in another orientation than it started from.
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
    """Return the template's outline with a rim, at a given resolution."""
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
    """Refine the position of the fixed image in the moving one by a rigid transform.

    Parameters
    ----------
    fixed, mask, moving : SimpleITK.Image
        The mask (uint8) selects the voxels of `fixed` to use.
    start : ndarray of float64, shape (4, 4)
        Position in `fixed` to position in `moving`, both RAS mm.

    Returns
    -------
    information : float
        Mutual information in nats.
    matrix : ndarray of float64, shape (4, 4)
        The refined position.
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
    """Refine all twelve affine parameters; return the mutual information and the transform."""
    mask = _outline(fixed.GetSpacing()[0])
    method = _method(mask, iterations=iterations, step_mm=step_mm, share=share)
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, image)
    return -float(method.GetMetricValue()), start


def _nearest_turn(matrix: Matrix) -> tuple[int, float]:
    """Return the index into `TURNS` nearest to a matrix's rotation, and the angle in degrees."""
    from scipy.linalg import polar
    from scipy.spatial.transform import Rotation

    rotation, _ = polar(matrix[:3, :3])
    angles = [Rotation.from_matrix(turn.T @ rotation).magnitude() for turn in TURNS]
    nearest = int(np.argmin(angles))
    return nearest, float(np.degrees(angles[nearest]))
