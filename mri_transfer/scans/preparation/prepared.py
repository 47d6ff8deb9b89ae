"""Preparation: from a head in any position to a brain on the template's fixed 1 mm grid.

Registration, bias field and brain mask are computed at low resolution with negligible loss
(measured by `benchmarks/preparation.py`), and applied to the full scan in one interpolation. A scan
that is already prepared is recognised by its space and its mask, and passes through unchanged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import PreparationError
from mri_transfer.scans.preparation.bias import bias_field
from mri_transfer.scans.preparation.brain import (
    MASK_SPACING_MM,
    brain_mask,
    empty_share_around,
    outline_of_stripped,
    to_grid,
)
from mri_transfer.scans.preparation.external import extract_brain
from mri_transfer.scans.preparation.passthrough import is_slab, lies_in_place, turn_in_place
from mri_transfer.scans.preparation.registration import Alignment, align, one_thread
from mri_transfer.scans.preparation.settings import PreparationSpec
from mri_transfer.scans.preparation.template import (
    Grid,
    affine_of_image,
    array_of_image,
    image_of_array,
    image_of_volume,
    itk_affine,
    load_template,
    prepared_grid,
)
from mri_transfer.scans.volumes import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["PreparedScan", "prepare_scan"]

BoolArray = npt.NDArray[np.bool_]

#: A larger empty fraction of the shell around the brain means that there is no skull.
_STRIPPED_SHARE = 0.9
#: The field is estimated inside the template's outline and this rim.
_BIAS_MARGIN_MM = 4.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PreparedScan:
    """A preprocessed scan, comparable with others.

    Parameters
    ----------
    volume : Volume
        The brain on the fixed grid (0 outside the mask), or the scan itself if it passed through.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain mask; with `brain_extraction` "none", the template's.
    covered : ndarray of bool, shape (X, Y, Z)
        Voxels inside the scan's field of view.
    alignment : Alignment or None
        None if the scan was not registered.
    steps : tuple of str
        The preparation steps, in order; empty if the scan passed through.
    turn : int
        Orientation of the content relative to the header: index into `pose.TURNS`, 0 if they agree.
    margin : float
        Margin of this orientation over the second best, in nats of mutual information.
    """

    volume: Volume
    mask: BoolArray
    covered: BoolArray
    alignment: Alignment | None
    steps: tuple[str, ...]
    turn: int
    margin: float

    @property
    def passed_through(self) -> bool:
        """Whether the scan was already prepared and is unchanged."""
        return not self.steps

    @classmethod
    def unchanged(cls, volume: Volume, *, turn: int, margin: float) -> PreparedScan:
        """Return a scan that passes through unchanged."""
        return cls(
            volume=volume,
            mask=outline_of_stripped(image_of_volume(volume)),
            covered=np.ones(volume.voxels.shape, dtype=np.bool_),
            alignment=None,
            steps=(),
            turn=turn,
            margin=margin,
        )


def prepare_scan(volume: Volume, spec: PreparationSpec) -> PreparedScan:
    """Prepare one scan, or pass it through if it is already prepared.

    Parameters
    ----------
    volume : Volume
        The scan in RAS+.
    spec : PreparationSpec

    Returns
    -------
    PreparedScan
        Independent of the number of threads.

    Raises
    ------
    PreparationError
        If a step fails on this scan.
    """
    with one_thread(), _itk_faults(volume.scan_id):
        if spec.scans != "all":
            in_place = spec.scans == "none" or lies_in_place(volume)
            if in_place:
                turn, margin = turn_in_place(volume)
                # A rotated whole brain can be corrected; a slab cannot be registered.
                if spec.scans == "none" or turn == 0 or is_slab(volume):
                    return PreparedScan.unchanged(volume, turn=turn, margin=margin)
        return _prepared(volume, spec)


@contextlib.contextmanager
def _itk_faults(scan_id: str) -> Iterator[None]:
    """Convert SimpleITK's exceptions to PreparationError."""
    try:
        yield
    except RuntimeError as error:
        # ITK's messages have several lines, with paths of its source and memory addresses.
        words = re.sub(r"^.*ITK ERROR: (\w+\(0x\w+\): )?", "", str(error), flags=re.DOTALL)
        raise PreparationError(
            "the scan cannot be aligned to the template",
            where=f"scan {scan_id}",
            found=" ".join(words.split()),
            remedy="Inspect it: a whole head or a whole brain is required",
        ) from error


def _prepared(volume: Volume, spec: PreparationSpec) -> PreparedScan:
    image = image_of_volume(volume)
    grid = prepared_grid(crop=spec.crop)
    alignment = align(image) if spec.registration else None
    placement = itk_affine(np.eye(4) if alignment is None else alignment.matrix)
    steps = ["affine registration"] if spec.registration else []
    small = _placed(image, grid.image(spacing_mm=MASK_SPACING_MM), placement)
    seen_small, seen = (
        _covered(image, grid.image(spacing_mm=mm), placement) for mm in (MASK_SPACING_MM, 1.0)
    )
    stripped = empty_share_around(small, seen_small) > _STRIPPED_SHARE
    voxels = array_of_image(_placed(image, grid.image(), placement, spec.interpolation))
    if spec.bias_field:
        field_small = _field(small, stripped=stripped)
        small = image_of_array(array_of_image(small) / field_small, affine_of_image(small))
        voxels /= _on_grid(field_small, small, grid)
        steps.append("N4 bias field correction")
    # Nothing is known outside the field of view.
    mask = seen & _mask(volume, small, grid, placement, spec, stripped=stripped)
    steps.append("resampling to 1 mm")
    if spec.brain_extraction != "none":
        voxels[~mask] = 0.0
        steps.append(
            "brain mask as delivered" if stripped else f"brain mask: {spec.brain_extraction}"
        )
    turn, margin = (0, 0.0) if alignment is None else (alignment.turn, alignment.margin)
    return PreparedScan(
        # A cubic spline undershoots at sharp edges; signal is not negative.
        volume=Volume(voxels=np.maximum(voxels, 0), affine=grid.affine, scan_id=volume.scan_id),
        mask=mask,
        covered=seen,
        alignment=alignment,
        steps=tuple(steps),
        turn=turn,
        margin=margin,
    )


def _placed(
    image: sitk.Image, grid: sitk.Image, placement: Any, interpolation: str = "linear"
) -> sitk.Image:
    import SimpleITK as sitk

    how = sitk.sitkBSpline if interpolation == "bspline" else sitk.sitkLinear
    return sitk.Resample(image, grid, placement, how, 0.0, sitk.sitkFloat32)


def _covered(image: sitk.Image, grid: sitk.Image, placement: Any) -> BoolArray:
    """Return the voxels of the grid inside the scan's field of view."""
    import SimpleITK as sitk

    # An image of zeros is resampled with 1 outside.
    empty = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    empty.CopyInformation(image)
    how = sitk.sitkNearestNeighbor
    outside = sitk.Resample(empty, grid, placement, how, 1.0, sitk.sitkUInt8)
    covered: BoolArray = array_of_image(outside) == 0
    return covered


def _field(small: sitk.Image, *, stripped: bool) -> npt.NDArray[np.float32]:
    inside = (
        outline_of_stripped(small)
        if stripped
        else load_template().mask_on(small, margin_mm=_BIAS_MARGIN_MM)
    )
    return bias_field(small, inside)


def _on_grid(
    values: npt.NDArray[np.float32], image: sitk.Image, grid: Grid
) -> npt.NDArray[np.float32]:
    import SimpleITK as sitk

    coarse = image_of_array(values, affine_of_image(image))
    identity = sitk.Transform(3, sitk.sitkIdentity)
    # The last argument: extrapolate with the nearest value.
    fine = sitk.Resample(
        coarse, grid.image(), identity, sitk.sitkLinear, 1.0, sitk.sitkFloat32, True
    )
    return array_of_image(fine)


def _mask(
    volume: Volume,
    small: sitk.Image,
    grid: Grid,
    placement: Any,
    spec: PreparationSpec,
    *,
    stripped: bool,
) -> BoolArray:
    """Return the brain mask on the grid: from its outline, by watershed, or by a program."""
    if stripped:
        return to_grid(outline_of_stripped(small), small, grid.image())
    if spec.brain_extraction == "none":
        return load_template().mask_on(grid.image())
    if spec.brain_extraction == "own":
        return to_grid(brain_mask(small), small, grid.image())
    native = extract_brain(volume, program=spec.brain_extraction)
    soft = image_of_array(native.astype(np.float32), volume.affine)
    return array_of_image(_placed(soft, grid.image(), placement)) > 0.5
