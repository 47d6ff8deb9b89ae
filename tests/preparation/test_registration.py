"""Alignment: a known placement is found again, from any turn, the same on any machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from mri_transfer.preparation.pose import TURNS
from mri_transfer.preparation.registration import Alignment, align, fit_rigidly, one_thread
from mri_transfer.preparation.template import image_of_array, image_of_volume, itk_affine
from mri_transfer.volumes import Volume, load_volume
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
    return (a.matrix.tobytes(), a.turn, a.tilt_deg, a.information, a.lead) == (
        b.matrix.tobytes(),
        b.turn,
        b.tilt_deg,
        b.information,
        b.lead,
    )


def test_the_placement_of_a_made_head_is_recovered() -> None:
    head, found = some_head(), aligned_head()
    assert placement_error_mm(found.matrix, head) < 1.5
    assert found.turn == 0
    assert found.lead > 0.05
    assert found.information > found.lead
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
