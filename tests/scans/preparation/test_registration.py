"""Alignment: a known placement is found again, from any turn, the same on any machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from scipy import ndimage

from mri_transfer.scans.preparation.pose import TURNS
from mri_transfer.scans.preparation.registration import (
    Alignment,
    Trial,
    align,
    choose_orientation,
    fit_rigidly,
    one_thread,
)
from mri_transfer.scans.preparation.template import image_of_array, image_of_volume, itk_affine
from mri_transfer.scans.volumes import Volume, load_volume
from tests.heads_phantom import (
    aligned_head,
    placement_error_mm,
    pose_matrix,
    some_head,
    turned_content,
    turned_header,
)
from tests.phantoms import store_nifti

Matrix = npt.NDArray[np.float64]

UPSIDE_DOWN = next(i for i, turn in enumerate(TURNS) if (turn == np.diag([-1, 1, -1])).all())
ON_THE_SIDE = next(
    i for i, turn in enumerate(TURNS) if (turn == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]).all()
)


def _same(a: Alignment, b: Alignment) -> bool:
    return (a.matrix.tobytes(), a.turn, a.tilt_deg, a.information, a.margin) == (
        b.matrix.tobytes(),
        b.turn,
        b.tilt_deg,
        b.information,
        b.margin,
    )


def test_the_placement_of_a_made_head_is_recovered() -> None:
    head, found = some_head(), aligned_head()
    assert placement_error_mm(found.matrix, head) < 1.5
    assert found.turn == 0
    assert found.margin > 0.05
    assert found.information > found.margin
    assert found.volume_ratio == pytest.approx(np.linalg.det(head.matrix[:3, :3]), rel=0.05)
    assert found.tilt_deg == pytest.approx(11, abs=1.5)  # 9, -4 and 5 degrees about x, y, z


@pytest.mark.parametrize(("threads", "axcodes"), [(2, "RAS"), (4, "PIL")])
def test_neither_threads_nor_the_order_of_axes_on_disk_change_a_byte(
    threads: int, axcodes: str, tmp_path: Path
) -> None:
    """`aligned_head` ran with one thread, on the volume as it was grown."""
    volume = some_head().volume
    path = tmp_path / "head.nii.gz"
    store_nifti(path, volume.voxels, volume.affine, axcodes=axcodes, dtype="float32")
    image = image_of_volume(load_volume(path, scan_id="phantom"))
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    try:
        found = align(image)
        assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert _same(found, aligned_head())


@pytest.mark.parametrize(
    ("turned", "turn"), [(turned_header, UPSIDE_DOWN), (turned_content, ON_THE_SIDE)]
)
def test_a_turned_head_is_noticed_and_put_right(
    turned: Callable[[Volume, Matrix], Volume], turn: int
) -> None:
    head = some_head()
    scan = turned(head.volume, TURNS[turn])
    found = align(image_of_volume(scan))
    assert found.turn == turn
    # Cubic voxels: the content is moved by the turn and a shift, which the two middles tell.
    motion = np.eye(4)
    motion[:3, :3] = TURNS[turn]
    motion[:3, 3] = (_middle(scan) - motion @ _middle(head.volume))[:3]
    assert placement_error_mm(np.linalg.inv(motion) @ found.matrix, head) < 1.5
    assert found.tilt_deg == pytest.approx(11, abs=1.5)


def _middle(volume: Volume) -> Matrix:
    return volume.affine @ np.append((np.array(volume.voxels.shape) - 1) / 2, 1.0)


def test_a_rigid_fit_finds_a_shift_and_a_turn() -> None:
    head = some_head()
    image = image_of_volume(head.volume)
    mask = sitk.Cast(
        image_of_array(head.brain.astype(np.uint8), head.volume.affine), sitk.sitkUInt8
    )
    # The same picture, moved: what is found must undo it.
    motion = pose_matrix(angles_deg=(6, 3, -5), shift_mm=(5, -8, 6))
    moved = sitk.Resample(image, image, itk_affine(np.linalg.inv(motion)))
    with one_thread():
        start, _ = fit_rigidly(image, mask, image, np.eye(4))
        information, matrix = fit_rigidly(image, mask, moved, np.eye(4))
    assert placement_error_mm(matrix @ head.matrix, head) > 5
    there = head.volume.affine @ np.c_[np.argwhere(head.brain), np.ones(head.brain.sum())].T
    off = np.linalg.norm(((matrix - motion) @ there)[:3], axis=0).mean()
    assert off < 1.5
    assert 0.4 * start < information < start  # it was interpolated once more


def test_the_thread_count_comes_back_even_after_an_error() -> None:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() / 0
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == before


def _trial(turn: int, information: float, *, size: float = 0.9) -> Trial:
    return Trial(turn=turn, information=information, matrix=np.diag([size, size, size, 1.0]))


def test_the_headers_orientation_is_overruled_by_a_clear_margin_only() -> None:
    upright = _trial(0, 0.40)
    for other in (_trial(5, 0.30), _trial(5, 0.45), _trial(5, 0.51)):
        assert choose_orientation([other, upright]) == (upright, other)
    clear = _trial(5, 0.53)
    assert choose_orientation([upright, _trial(7, 0.45), clear]) == (clear, upright)


def test_a_brain_that_is_larger_than_brains_are_does_not_win() -> None:
    inside, between_bone_and_scalp = _trial(0, 0.40), _trial(0, 0.45, size=1.1)
    chosen, _ = choose_orientation([between_bone_and_scalp, inside, _trial(3, 0.2)])
    assert chosen is inside
    # Size costs nothing as long as brains have it.
    assert _trial(0, 0.4, size=0.8).merit == _trial(0, 0.4, size=1.0).merit == 0.4


def test_where_all_trials_end_in_one_orientation_there_is_no_rival() -> None:
    best, worse = _trial(0, 0.5), _trial(0, 0.4)
    chosen, rival = choose_orientation([worse, best])
    assert chosen is best
    assert rival.turn not in range(24)
    assert rival.merit == 0


def test_a_head_of_which_the_scalp_outshines_the_brain_is_registered() -> None:
    """Fat three times as bright as the brain, as in scans of thick slices."""
    head = some_head()
    voxels = head.volume.voxels.copy()
    distance = ndimage.distance_transform_edt(~head.brain, sampling=head.volume.spacing_mm)
    scalp = (np.asarray(distance) > 7) & (voxels > 0)
    voxels[scalp] *= 3
    found = align(image_of_volume(dataclasses.replace(head.volume, voxels=voxels)))
    assert found.turn == 0
    assert placement_error_mm(found.matrix, head) < 3


WILD = Path(__file__).resolve().parents[4] / "shared" / "data" / "heads-wild"


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["sub-OAS10001_T1w", "sub-ms01_ses-1_T1w", "sub-ms01_ses-2_T1w", "sub-ms03_ses-2_T1w"],
)
def test_heads_as_scanners_give_them_are_registered(name: str) -> None:
    """An atrophied brain, and heads with slices of 3 mm whose scalp outshines the brain."""
    path = WILD / f"{name}.nii.gz"
    if not path.is_file():
        pytest.skip(f"the real scans are not there: {path}")
    found = align(image_of_volume(load_volume(path, scan_id=name)))
    assert found.turn == 0
    assert found.information > 0.45
    assert found.margin > 0.2
    assert 0.5 < found.volume_ratio < 0.9
