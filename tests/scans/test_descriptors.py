"""Descriptions of a scan: hand values of a box, and what each of them must not see."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mri_transfer.errors import StoreError
from mri_transfer.scans.descriptors import (
    DescriptorStore,
    ScanDescriptors,
    describe,
    descriptor_key,
)
from mri_transfer.scans.slices import SliceSpec, SliceStack, cut_slices
from mri_transfer.scans.volumes import Volume
from tests.phantoms import asymmetric_phantom, ras_affine

SPEC = SliceSpec(n_slices=5, size_px=48)
SPACING_MM = (2.0, 1.5, 3.0)


def _volume(voxels: np.ndarray, affine: np.ndarray | None = None) -> Volume:
    affine = ras_affine(SPACING_MM) if affine is None else affine
    return Volume(voxels=voxels.astype(np.float32), affine=affine, scan_id="s1")


def _described(volume: Volume, spec: SliceSpec = SPEC) -> ScanDescriptors:
    return describe(volume, cut_slices(volume, spec), spec)


def _box(shape: tuple[int, int, int] = (7, 8, 9)) -> np.ndarray:
    voxels = np.zeros((20, 21, 22))
    voxels[4 : 4 + shape[0], 5 : 5 + shape[1], 6 : 6 + shape[2]] = 100
    return voxels


def test_a_box_has_the_size_and_outline_of_a_box() -> None:
    """7 x 8 x 9 voxels of 2 x 1.5 x 3 mm: 4.536 ml, slices of 14 x 12 mm."""
    outline = _described(_volume(_box())).outline
    assert outline[0] == pytest.approx(4.536)
    for area, width, depth, perimeter, solidity in outline[1:].reshape(5, 5):
        assert area == pytest.approx(14 * 12)
        assert (width, depth) == (14, 12)
        assert perimeter == pytest.approx(2 * (14 + 12))
        assert solidity == pytest.approx(1)


def test_a_notch_leaves_the_box_around_it_and_takes_from_area_and_solidity() -> None:
    voxels = _box()
    voxels[4:7, 5:9] = 0  # 3 x 4 voxels of one corner
    area, width, depth, perimeter, solidity = _described(_volume(voxels)).outline[1:6]
    assert area == pytest.approx((7 * 8 - 3 * 4) * 3)
    assert (width, depth) == (14, 12)
    assert perimeter == pytest.approx(2 * (14 + 12))  # the edges of a notch replace the corner's
    assert 44 / 56 < solidity < 0.99


def test_a_slice_without_foreground_is_all_zeros() -> None:
    voxels = _box()
    voxels[:, :, 10] = 0  # the middle one of five slices over the height
    slices = _described(_volume(voxels)).outline[1:].reshape(5, 5)
    assert slices[2].tolist() == [0, 0, 0, 0, 0]
    assert (slices[[0, 1, 3, 4], 0] > 0).all()


def test_the_outline_does_not_see_grey_values() -> None:
    voxels = asymmetric_phantom()
    outline = _described(_volume(voxels)).outline
    assert np.array_equal(_described(_volume(2 * voxels)).outline, outline)
    # Nor what is brighter inside: the head is where there is any signal.
    inside = np.where(voxels > 0, 4000 - voxels / 2, 0)
    np.testing.assert_allclose(_described(_volume(inside)).outline, outline, rtol=1e-5)


def test_the_histogram_does_not_see_position_or_background() -> None:
    volume = _volume(asymmetric_phantom())
    stack = cut_slices(volume, SPEC)
    expected = describe(volume, stack, SPEC).histogram
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(stack.pixels.reshape(5, -1), axis=1).reshape(stack.pixels.shape)
    wider = np.pad(stack.pixels, ((0, 0), (10, 30), (0, 40)))
    for pixels in (shuffled, wider, stack.pixels[::-1]):
        other = dataclasses.replace(stack, pixels=pixels)
        np.testing.assert_allclose(describe(volume, other, SPEC).histogram, expected, rtol=1e-5)
    darker = dataclasses.replace(stack, pixels=stack.pixels // 2)
    assert np.abs(describe(volume, darker, SPEC).histogram - expected).sum() > 0.5


def test_the_histogram_has_the_shares_of_the_foreground() -> None:
    """Of 32 bins of 8 grey values each, from 1 to 255."""
    pixels = np.zeros((2, 4, 4), dtype=np.uint8)
    pixels[0, 0, :4] = (1, 1, 255, 100)
    pixels[1, 0, :1] = 255
    stack = SliceStack(scan_id="s1", pixels=pixels, z_mm=np.zeros(2, dtype=np.float32))
    histogram = describe(_volume(_box()), stack, SPEC).histogram
    assert histogram.shape == (32,)
    assert histogram[0] == pytest.approx(0.5 / 2)
    assert histogram[(100 - 1) // 8] == pytest.approx(0.25 / 2)
    assert histogram[31] == pytest.approx(0.25 / 2 + 1 / 2)
    assert histogram.sum() == pytest.approx(1)


def _head_mm(affine: np.ndarray, shape: tuple[int, int, int]) -> Volume:
    """Sample an ellipsoid of 60 x 75 x 55 mm with a bright half on any grid."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3] - [2, -18, 12], -1, 0)
    inside = (x / 60) ** 2 + (y / 75) ** 2 + (z / 55) ** 2 < 1
    return _volume(np.where(inside, 800 + 300 * np.tanh(x / 10) + 4 * z, 0), affine)


def test_the_same_head_on_another_grid_has_nearly_the_same_voxels() -> None:
    straight = _head_mm(ras_affine((2, 2, 2), (-90, -126, -72)), (91, 109, 91))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [12, -8, 5], degrees=True).as_matrix() @ np.diag(
        [1.5, 2.5, 2.0]
    )
    affine[:3, 3] = np.array([2, -18, 12]) - affine[:3, :3] @ [60, 40, 50]
    oblique = _head_mm(affine, (121, 81, 101))
    one, other = (_described(volume).voxels for volume in (straight, oblique))
    assert one.shape == other.shape == (47, 56, 46)
    assert np.abs(one - other).mean() < 0.01
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.995
    # World axes: the half at the patient's right, at larger x, is the brighter one.
    middle = round((2 + 92) / 4)
    assert other[middle + 5, 28, 21] > 1.2 * other[middle - 5, 28, 21]


def test_voxels_do_not_depend_on_the_scale_of_grey_values() -> None:
    volume = _head_mm(ras_affine((3, 3, 3), (-90, -126, -72)), (61, 73, 61))
    brighter = dataclasses.replace(volume, voxels=volume.voxels * np.float32(7))
    one, other = _described(volume).voxels, _described(brighter).voxels
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert one[23, 28, 21] == pytest.approx(1, abs=0.2)


def test_the_key_holds_the_scan_and_how_it_is_cut() -> None:
    keys = {
        descriptor_key(volume_key=volume, slices=spec)
        for volume in ("a", "b")
        for spec in (SPEC, dataclasses.replace(SPEC, n_slices=6))
    }
    assert len(keys) == 4


def test_stored_descriptors_read_back_and_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    store, key = DescriptorStore(tmp_path), "a" * 64
    found = _described(_volume(asymmetric_phantom()))
    store.put(key, found)
    again = store.get(key)
    for field in dataclasses.fields(ScanDescriptors):
        assert np.array_equal(getattr(again, field.name), getattr(found, field.name))
    store.path(key).write_bytes(store.path(key).read_bytes()[:-4])
    with pytest.raises(StoreError):
        store.get(key)
