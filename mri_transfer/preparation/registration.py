"""Affine registration of a head to the template brain, from coarse to fine.

1. `find_poses` slides the template over the scan in all turns (8 mm).
2. The best poses are moved rigidly (8 mm), then affinely (4 mm); Mattes' mutual information
   (Mattes et al. 2003, IEEE Trans. Med. Imaging 22:120-128) inside the template's outline decides.
3. The winner is refined at 2 mm.

Only voxels inside the template's outline and a rim around it count, so that neck and scalp do not
pull. The rigid step comes before the affine one: a whole head can otherwise be taken for a large
brain. Everything runs on one thread, without random numbers: sums over threads depend on their
number, and so would the result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.preparation.pose import SEARCH_SPACING_MM, TURNS, Pose, find_poses
from mri_transfer.preparation.template import (
    CENTRE_LPS_MM,
    itk_affine,
    load_template,
    ras_matrix,
    template_at,
    to_spacing,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["Alignment", "align", "fit_rigidly", "one_thread"]

Matrix = npt.NDArray[np.float64]

_RIGID_MM, _AFFINE_MM, _FINE_MM = SEARCH_SPACING_MM, 4.0, 2.0
#: Poses of the likeliest turn that are tried, and further turns that may contest it.
_POSES_OF_BEST_TURN, _OTHER_TURNS = 2, 2
_BINS = 32
#: Share of the outline's voxels that the last step looks at, evenly spread.
_FINE_SHARE = 0.25
#: Scalp and vessels shine; what is brighter counts as this bright.
_BRIGHT_PERCENTILE = 99.0


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
        Mutual information with the template at 4 mm, in nats.
    lead : float
        By how much that exceeds the best rival turn's.
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
    import SimpleITK as sitk

    with one_thread():
        image = sitk.Clamp(image, upperBound=_bright(image))
        coarse, middle = to_spacing(image, _RIGID_MM), to_spacing(image, _AFFINE_MM)
        tried = []
        for pose in _contestants(find_poses(coarse)):
            _, placed = fit_rigidly(*_fixed(_RIGID_MM), coarse, pose.matrix)
            information, moved = _affine(
                middle, itk_affine(placed), _AFFINE_MM, iterations=100, step_mm=2.0
            )
            tried.append((information, pose.turn, moved))
        tried.sort(key=lambda trial: -trial[0])
        information, turn, moved = tried[0]
        rival = max((trial[0] for trial in tried if trial[1] != turn), default=0.0)
        fine = to_spacing(image, _FINE_MM)
        _, moved = _affine(fine, moved, _FINE_MM, iterations=60, step_mm=1.0, share=_FINE_SHARE)
    matrix = ras_matrix(moved)
    turn, tilt_deg = _nearest_turn(matrix)
    return Alignment(
        matrix=matrix,
        turn=turn,
        tilt_deg=tilt_deg,
        information=information,
        lead=information - rival,
    )


def _bright(image: sitk.Image) -> float:
    import SimpleITK as sitk

    voxels = sitk.GetArrayViewFromImage(image)
    floor = voxels.min()
    signal = voxels[voxels > floor + 0.1 * (voxels.mean() - floor)]
    return float(np.percentile(signal, _BRIGHT_PERCENTILE))


def _contestants(poses: list[Pose]) -> list[Pose]:
    """Pick the poses that are worth a registration, of the likeliest turns."""
    turns = list(dict.fromkeys(pose.turn for pose in poses))
    best = [pose for pose in poses if pose.turn == turns[0]][:_POSES_OF_BEST_TURN]
    others = [
        next(pose for pose in poses if pose.turn == turn) for turn in turns[1 : 1 + _OTHER_TURNS]
    ]
    return best + others


@functools.cache
def _fixed(spacing_mm: float) -> tuple[sitk.Image, sitk.Image]:
    """Return the template at a resolution, and the outline with its rim."""
    import SimpleITK as sitk

    template = load_template()
    mask = to_spacing(sitk.Cast(template.mask, sitk.sitkFloat32), spacing_mm) > 0.5
    return template_at(spacing_mm), sitk.BinaryDilate(mask, [1, 1, 1])


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
    spacing_mm: float,
    *,
    iterations: int,
    step_mm: float,
    share: float | None = None,
) -> tuple[float, Any]:
    """Refine all twelve parameters; return the mutual information and the transform."""
    fixed, mask = _fixed(spacing_mm)
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
