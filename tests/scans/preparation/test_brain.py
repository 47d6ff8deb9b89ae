"""The brain mask: of a whole head, and of a scan that has lost its skull already."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mri_transfer.scans.preparation.brain import (
    brain_mask,
    empty_share_around,
    outline_of_stripped,
    to_grid,
)
from mri_transfer.scans.preparation.registration import one_thread
from mri_transfer.scans.preparation.template import (
    array_of_image,
    image_of_array,
    image_of_volume,
    load_template,
    prepared_grid,
)
from tests.heads_phantom import in_place_head, prepared_head, some_brain

BoolArray = npt.NDArray[np.bool_]


def _dice(a: BoolArray, b: BoolArray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_the_brain_of_a_head_is_found() -> None:
    head = in_place_head()
    with one_thread():
        found = brain_mask(image_of_volume(head.volume))
    assert _dice(found, head.brain) > 0.93
    skin = head.volume.voxels > 900
    assert not (found & skin & ~head.brain).any()


@pytest.mark.slow
def test_the_brain_of_a_head_in_another_pose_is_found_after_registration() -> None:
    prepared = prepared_head()
    template = load_template().mask_on(prepared_grid(crop=True).image())
    assert _dice(prepared.mask, template) > 0.93


def test_what_lies_around_tells_a_head_from_a_stripped_brain() -> None:
    head, brain = in_place_head().volume, some_brain()
    everywhere = np.ones(head.voxels.shape, dtype=bool)
    assert empty_share_around(image_of_volume(brain), everywhere) > 0.95
    assert empty_share_around(image_of_volume(head), everywhere) < 0.2
    # What lies outside the field of view is empty for another reason.
    voxels = head.voxels.copy()
    covered = everywhere.copy()
    covered[:, :, 45:] = False
    voxels[~covered] = 0
    cut = image_of_array(voxels, head.affine)
    assert empty_share_around(cut, everywhere) > 0.3
    assert empty_share_around(cut, covered) < 0.2
    assert empty_share_around(cut, ~everywhere) == 0.0


def test_the_outline_of_a_stripped_brain_is_its_largest_part_without_holes() -> None:
    voxels = np.zeros((20, 20, 20), dtype=np.float32)
    voxels[4:16, 4:16, 4:16] = 5
    filled = voxels > 0
    voxels[8:10, 8:10, 8:10] = 0  # a ventricle
    voxels[1, 1, 1] = 7  # a speck
    for shift in (0.0, -1000.0):  # the background need not be 0
        image = image_of_array(voxels + np.float32(shift), np.eye(4))
        np.testing.assert_array_equal(outline_of_stripped(image), filled)


def test_a_mask_moves_to_a_finer_grid_where_it_lies() -> None:
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[4:8, 3:9, 5:7] = True
    coarse = image_of_array(np.zeros(mask.shape, dtype=np.float32), np.diag([2.0, 2, 2, 1]))
    fine_affine = np.eye(4)
    fine_affine[:3, 3] = -0.5
    fine = image_of_array(np.zeros((24, 24, 24), dtype=np.float32), fine_affine)
    found = to_grid(mask, coarse, fine)
    # Every coarse voxel is eight fine ones; corners are rounded off.
    assert found.sum() == pytest.approx(8 * mask.sum(), rel=0.15)
    np.testing.assert_array_equal(found[10:14, 8:16, 11:13], True)
    assert not found[:7].any()
    assert not found[17:].any()


def test_the_template_itself_is_stripped_already() -> None:
    template = load_template().t1
    covered = np.ones(template.GetSize(), dtype=bool)
    assert empty_share_around(template, covered) == pytest.approx(1)
    outline = outline_of_stripped(template)
    assert _dice(outline, array_of_image(load_template().mask) > 0) > 0.98
