"""Slices: which are chosen, that storage does not matter, how they are windowed and resized."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mri_transfer.errors import SliceError, StoreError
from mri_transfer.scans.slices import (
    SliceSpec,
    SliceStore,
    cut_slices,
    head_mask,
    plan_slices,
    shannon_entropy_bits,
    slices_key,
)
from mri_transfer.scans.volumes import Volume

SMALL = SliceSpec(n_slices=8, size_px=64)


def _volume(
    shape: tuple[int, int, int] = (40, 50, 36), spacing: tuple[float, float, float] = (1, 1, 1)
) -> Volume:
    """A bright, asymmetric ellipsoid on black, with texture that differs by slice."""
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = (x / 0.8) ** 2 + (y / 0.9) ** 2 + (z / 0.95) ** 2 < 1
    voxels = np.where(inside, 100 + 30 * x + 20 * y + 10 * z, 0)
    voxels = voxels + np.where(inside, rng.normal(0, 3, shape), 0)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-20, -25, -12]
    return Volume(voxels=voxels.astype(np.float32), affine=affine, scan_id="phantom")


def test_entropy_of_a_histogram_by_hand() -> None:
    assert shannon_entropy_bits(np.zeros((4, 4), np.uint8)) == 0
    assert shannon_entropy_bits(np.array([[0, 255]], np.uint8)) == 1
    quarters = np.array([[0, 1, 2, 3]], np.uint8)
    assert shannon_entropy_bits(quarters) == 2
    # 1/2, 1/4, 1/4: 0.5 * 1 + 2 * 0.25 * 2 = 1.5 bits
    assert shannon_entropy_bits(np.array([[7, 7, 9, 200]], np.uint8)) == 1.5


def test_entropy_selection_takes_the_slices_of_highest_entropy() -> None:
    rng = np.random.default_rng(1)
    voxels = np.full((32, 32, 30), 0, dtype=np.float32)
    voxels[4:28, 4:28] = 100
    rich = [3, 4, 9, 17, 18, 25]
    for k in rich:
        voxels[4:28, 4:28, k] = rng.uniform(50, 200, (24, 24))
    volume = Volume(voxels=voxels, affine=np.eye(4), scan_id="rich")
    spec = SliceSpec(n_slices=6, selection="entropy", intensity="minmax")
    assert plan_slices(volume, spec).z_index.tolist() == rich


def test_extent_spreads_the_slices_evenly_over_the_head_in_millimetres() -> None:
    volume = _volume(spacing=(1, 1, 2.5))
    plan = plan_slices(volume, SMALL)
    steps = np.diff(plan.z_mm)
    np.testing.assert_allclose(steps, steps[0])
    area = head_mask(volume.voxels).sum(axis=(0, 1))
    covered = np.flatnonzero(area >= 0.3 * area.max())
    np.testing.assert_allclose(plan.z_mm[[0, -1]], covered[[0, -1]] * 2.5 - 12)


def test_a_slab_of_exactly_as_many_slices_gives_each_of_them() -> None:
    volume = _volume()
    slab = dataclasses.replace(volume, voxels=volume.voxels[:, :, 14:22])
    assert plan_slices(slab, SMALL).z_index.tolist() == list(range(8))


def test_a_window_is_cut_at_its_millimetres() -> None:
    spec = SliceSpec(n_slices=5, selection="window", window_mm=(-2.0, 6.0), size_px=64)
    plan = plan_slices(_volume(), spec)
    assert plan.z_mm.tolist() == [-2, 0, 2, 4, 6]
    assert plan.z_index.tolist() == [10, 12, 14, 16, 18]


@pytest.mark.parametrize(
    "spec",
    [
        SliceSpec(n_slices=40),
        SliceSpec(n_slices=40, selection="entropy"),
        SliceSpec(n_slices=8, selection="window", window_mm=(10.0, 90.0)),
    ],
    ids=["extent", "entropy", "window"],
)
def test_too_few_usable_slices_are_an_exclusion_with_both_numbers(spec: SliceSpec) -> None:
    with pytest.raises(SliceError, match=rf"phantom.*found \d+; expected {spec.n_slices} or more"):
        cut_slices(_volume(), spec)


@pytest.mark.parametrize("selection", ["extent", "entropy"])
def test_front_is_up_and_left_is_left(selection: str) -> None:
    voxels = np.zeros((40, 40, 12), dtype=np.float32)
    voxels[4:36, 4:36] = 100
    voxels[4:12, 24:36] = 220  # a bright corner: patient's left, front
    voxels += np.arange(12, dtype=np.float32)
    volume = Volume(voxels=voxels, affine=np.eye(4), scan_id="corner")
    picture = cut_slices(volume, dataclasses.replace(SMALL, selection=selection)).pixels[3]
    quarters = [
        picture[rows, columns].mean()
        for rows in (slice(0, 32), slice(32, 64))
        for columns in (slice(0, 32), slice(32, 64))
    ]
    assert int(np.argmax(quarters)) == 0


def test_anisotropic_voxels_keep_the_head_round() -> None:
    """A disc of 60 mm stays a disc whatever the voxels' shape, padded to a square."""
    shape, spacing = (80, 40, 12), (1.0, 2.0, 3.0)
    x, y = np.meshgrid((np.arange(80) - 39.5), (np.arange(40) - 19.5) * 2, indexing="ij")
    voxels = np.repeat(((x**2 + y**2) < 900)[:, :, None], 12, axis=2) * np.float32(100)
    voxels += np.arange(12, dtype=np.float32)
    volume = Volume(
        voxels=voxels.astype(np.float32), affine=np.diag([*spacing, 1.0]), scan_id="disc"
    )
    assert shape == voxels.shape
    bright = cut_slices(volume, SMALL).pixels[4] > 127
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert abs(height - width) <= 2
    assert abs(height - 48) <= 2  # 60 of 80 mm on 64 pixels


def test_stretching_ignores_the_shape_as_published() -> None:
    volume = _volume((30, 60, 36))
    kept = cut_slices(volume, SMALL).pixels[4]
    stretched = cut_slices(volume, dataclasses.replace(SMALL, aspect="stretch")).pixels[4]
    assert not kept[:, :12].any()
    assert stretched[:, :12].any()


def test_percentiles_are_taken_inside_the_head_so_that_air_has_no_say() -> None:
    volume = _volume()
    wide = np.pad(volume.voxels, ((30, 30), (30, 30), (0, 0)))
    padded = dataclasses.replace(volume, voxels=wide)
    near = cut_slices(volume, dataclasses.replace(SMALL, size_px=100)).pixels
    far = cut_slices(padded, dataclasses.replace(SMALL, size_px=220)).pixels
    assert abs(np.median(near[near > 20]) - np.median(far[far > 20])) < 4


def test_minmax_stretches_every_slice_on_its_own() -> None:
    volume = _volume()
    dimmed = dataclasses.replace(
        volume, voxels=volume.voxels * np.linspace(0.2, 1, 36, dtype=np.float32)
    )
    spec = SliceSpec(n_slices=8, intensity="minmax", size_px=50, aspect="stretch")
    assert (cut_slices(dimmed, spec).pixels.max(axis=(1, 2)) > 235).all()
    percentile = cut_slices(dimmed, dataclasses.replace(spec, intensity="percentile")).pixels
    assert percentile[0].max() < 120


def test_brightness_of_the_scanner_does_not_matter() -> None:
    volume = _volume()
    louder = dataclasses.replace(volume, voxels=volume.voxels * np.float32(7.5))
    difference = cut_slices(volume, SMALL).pixels.astype(int) - cut_slices(louder, SMALL).pixels
    assert abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"selection": "window"}, "requires window_mm"),
        ({"window_mm": (0, 5)}, "requires window_mm"),
        ({"selection": "window", "window_mm": (5, 0)}, "must be ascending"),
        ({"percentiles": (60, 40)}, "must be ascending"),
        ({"sise_px": 3}, "sise_px"),
        ({"n_slices": 0}, "n_slices"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SliceSpec(**settings)


def test_every_setting_and_every_byte_of_the_scan_are_in_the_key() -> None:
    base = SliceSpec()
    changed = [
        dataclasses.replace(base, n_slices=31),
        dataclasses.replace(base, selection="entropy"),
        dataclasses.replace(base, min_area_fraction=0.2),
        dataclasses.replace(base, selection="window", window_mm=(0.0, 31.0)),
        dataclasses.replace(base, intensity="minmax"),
        dataclasses.replace(base, percentiles=(1.0, 99.0)),
        dataclasses.replace(base, aspect="stretch"),
        dataclasses.replace(base, size_px=150),
    ]
    assert len(changed) == len(dataclasses.fields(SliceSpec))
    keys = {slices_key(volume_key="a", spec=spec) for spec in [base, *changed]}
    keys.add(slices_key(volume_key="b", spec=base))
    assert len(keys) == len(changed) + 2


def test_a_stack_reads_back_as_stored_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    stack = cut_slices(_volume(), SMALL)
    store = SliceStore(tmp_path)
    store.put("abc", stack)
    assert "abc" in store
    again = store.get("abc", scan_id="phantom")
    assert np.array_equal(again.pixels, stack.pixels)
    assert np.array_equal(again.z_mm, stack.z_mm)
    path = store.path("abc")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match="abc"):
        store.get("abc", scan_id="phantom")
    assert "abc" not in store
