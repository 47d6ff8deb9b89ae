"""Levelling: neither bright scalp nor a bias field decides what the brain looks like."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.levelling import LEVEL_SPACING_MM, head_mask, level
from mri_transfer.scans.preparation.template import array_of_image, image_of_array, image_of_volume
from tests.heads_phantom import some_head

Array = npt.NDArray[np.float32]
BRAIN_MM, HEAD_MM = 55.0, 75.0


def _ball(*, scalp: float, white: float = 100.0, bias: float = 0.0) -> tuple[Array, Array]:
    """Return a ball of brain in dark bone in a scalp, 4 mm voxels, and each voxel's radius."""
    at_mm = 4.0 * (np.indices((48, 48, 48)) - 23.5)
    radius = np.sqrt((at_mm**2).sum(axis=0))
    voxels = np.zeros(radius.shape)
    voxels[radius < HEAD_MM] = scalp
    voxels[radius < BRAIN_MM + 6] = 5.0
    voxels[radius < BRAIN_MM] = 0.7 * white
    voxels[radius < BRAIN_MM - 15] = white
    field = np.exp(bias * at_mm[1] / HEAD_MM)
    return (voxels * field).astype(np.float32), radius.astype(np.float32)


def _levelled(voxels: Array) -> Array:
    """Return the levelled picture on the 2 mm voxels whose centres lie around those of 4 mm."""
    image = image_of_array(voxels, np.diag([4.0, 4.0, 4.0, 1.0]))
    found = level(image)
    assert found.GetSpacing() == (LEVEL_SPACING_MM,) * 3
    array: Array = array_of_image(found)
    return array.reshape(48, 2, 48, 2, 48, 2).mean(axis=(1, 3, 5))


def test_bright_scalp_counts_no_more_than_bright_tissue_of_the_brain() -> None:
    voxels, radius = _ball(scalp=350.0)
    levelled = _levelled(voxels)
    scalp = levelled[(radius > BRAIN_MM + 10) & (radius < HEAD_MM - 5)]
    white = levelled[radius < 20]
    assert scalp.max() < 1.2 * np.median(white)
    # As it came, the scalp was 3.5 times as bright.
    assert np.median(voxels[(radius > BRAIN_MM + 10) & (radius < HEAD_MM - 5)]) > 3 * 100


def test_a_field_that_brightens_one_side_is_reduced() -> None:
    voxels, radius = _ball(scalp=60.0, bias=0.5)
    levelled = _levelled(voxels)
    shell = (radius > BRAIN_MM - 12) & (radius < BRAIN_MM - 4)
    front, back = (shell & (side > 20) for side in _y_mm())
    before = np.median(voxels[front]) / np.median(voxels[back])
    after = np.median(levelled[front]) / np.median(levelled[back])
    assert before > 1.5
    # At the rim of so small a ball the local mean is one-sided: about half of the field is left.
    assert abs(np.log(after)) < 0.6 * np.log(before)


def _y_mm() -> tuple[Array, Array]:
    y = np.broadcast_to((4.0 * (np.arange(48) - 23.5))[None, :, None], (48, 48, 48))
    return y, -y


def test_the_scale_and_the_zero_of_the_signal_do_not_matter() -> None:
    voxels, _ = _ball(scalp=200.0)
    plain, other = _levelled(voxels), _levelled(30 * voxels - 500)
    np.testing.assert_allclose(other / other.max(), plain / plain.max(), atol=1e-3)


def test_the_head_is_found_in_the_noise_of_air() -> None:
    head = some_head()
    voxels = head.volume.voxels
    noise = np.random.default_rng(0).rayleigh(15.0, voxels.shape).astype(np.float32)
    noisy = image_of_array(np.hypot(voxels, noise), head.volume.affine)
    mask, clean = head_mask(noisy), head_mask(image_of_volume(head.volume))
    assert mask[head.brain].mean() > 0.99
    assert 2 * (mask & clean).sum() / (mask.sum() + clean.sum()) > 0.95


def test_a_picture_without_contrast_stays_as_it_is() -> None:
    flat = image_of_array(np.zeros((10, 10, 10), dtype=np.float32), np.eye(4))
    assert not array_of_image(level(flat)).any()
