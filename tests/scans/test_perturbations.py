"""Perturbations: the same again for the same seed, graded, and nothing where the head is not."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mri_transfer.scans.perturbations import (
    Perturbation,
    PerturbationKind,
    cut_perturbed,
    default_perturbations,
    perturb,
    perturbation_seed,
    perturbed_key,
)
from mri_transfer.scans.slices import SliceSpec, cut_slices
from mri_transfer.scans.volumes import Volume

KINDS = get_args(PerturbationKind)
#: They leave nothing to a draw.
FIXED = ("thickness", "resolution")
#: They move the head, and the background with it.
MOVING = ("offset", "rotation")
each_kind = pytest.mark.parametrize("kind", KINDS)


def _volume(voxels: np.ndarray, spacing_mm: tuple[float, float, float] = (2, 2, 2)) -> Volume:
    affine = np.diag([*spacing_mm, 1.0])
    return Volume(voxels=voxels.astype(np.float32), affine=affine, scan_id="phantom")


@functools.cache
def _brain() -> Volume:
    """A masked ellipsoid with folds in it, on 1 mm. Read only."""
    x, y, z = np.meshgrid(*(np.linspace(-1.15, 1.15, n) for n in (60, 72, 64)), indexing="ij")
    rough = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(x.shape), 1.2)
    voxels = 100 + 25 * rough / rough.std()
    return _volume(np.where(x**2 + y**2 + z**2 < 1, np.clip(voxels, 10, 200), 0), (1, 1, 1))


def _slab() -> Volume:
    """Its middle 32 slices."""
    return _volume(_brain().voxels[:, :, 16:48].copy(), (1, 1, 1))


def _block(value: float = 100.0, shape: tuple[int, int, int] = (40, 44, 36)) -> Volume:
    """A homogeneous box with nothing around it."""
    voxels = np.zeros(shape)
    voxels[8:-8, 8:-8, 8:-8] = value
    return _volume(voxels)


def _severe(kind: PerturbationKind) -> Perturbation:
    return [one for one in default_perturbations() if one.kind == kind][-1]


def _make(kind: PerturbationKind, level: float) -> Perturbation:
    return Perturbation(kind=kind, level=level)


@each_kind
def test_a_seed_gives_the_same_bytes_and_another_seed_others(kind: PerturbationKind) -> None:
    slab, before = _slab(), _slab()

    def drawn(seed: int) -> bytes:
        return perturb(slab, _severe(kind), seed=seed).voxels.tobytes()

    first = drawn(0)
    assert drawn(0) == first
    # Offset and gamma draw a sign alone: of several seeds some must differ.
    assert any(drawn(seed) != first for seed in range(1, 8)) == (kind not in FIXED)
    assert np.array_equal(slab.voxels, before.voxels)


@each_kind
def test_no_global_state_is_read_or_moved(kind: PerturbationKind) -> None:
    slab, severe = _slab(), _severe(kind)
    first = perturb(slab, severe, seed=3)
    torch.rand(7)
    np.random.rand(7)
    states = torch.random.get_rng_state(), np.random.get_state()[1]
    second = perturb(slab, severe, seed=3)
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert first.voxels.tobytes() == second.voxels.tobytes()


@each_kind
def test_what_comes_out_is_a_volume_of_the_same_grid(kind: PerturbationKind) -> None:
    slab = _slab()
    result = perturb(slab, _severe(kind), seed=1)
    assert result.voxels.shape == slab.voxels.shape
    assert result.voxels.dtype == np.float32
    assert np.isfinite(result.voxels).all()
    assert result.voxels.min() == slab.voxels.min()
    assert np.array_equal(result.affine, slab.affine)
    assert result.scan_id == slab.scan_id


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in MOVING])
@pytest.mark.parametrize("lowest", [0.0, -50.0])
def test_background_stays_background(kind: PerturbationKind, lowest: float) -> None:
    slab = _slab()
    shifted = _volume(slab.voxels + np.float32(lowest))
    outside = shifted.voxels <= shifted.voxels.min()
    assert outside.mean() > 0.2
    result = perturb(shifted, _severe(kind), seed=1)
    assert (result.voxels[outside] == shifted.voxels.min()).all()
    assert (result.voxels[~outside] != shifted.voxels[~outside]).mean() > 0.5


@each_kind
def test_a_higher_level_changes_more(kind: PerturbationKind) -> None:
    slab = _slab()
    levels = [one for one in default_perturbations() if one.kind == kind]
    change = [np.abs(perturb(slab, one, seed=5).voxels - slab.voxels).mean() for one in levels]
    assert 0 < change[0] < change[1] < change[2]


def test_there_are_three_rising_levels_of_each_kind() -> None:
    wanted = default_perturbations()
    assert len({one.name for one in wanted}) == len(wanted) == 3 * len(KINDS)
    for kind in KINDS:
        levels = [one.level for one in wanted if one.kind == kind]
        assert len(levels) == 3
        assert levels == sorted(levels)


@pytest.mark.parametrize("level", [5.0, 12.0])
def test_noise_has_the_deviation_that_is_asked_for(level: float) -> None:
    block = _block()
    inside = perturb(block, _make("noise", level), seed=0).voxels[block.voxels > 0]
    assert inside.std() == pytest.approx(level, rel=0.03)
    # Rician: the mean rises by half the variance over the signal.
    assert inside.mean() - 100 == pytest.approx(level**2 / 200, abs=3 * level / len(inside) ** 0.5)


@pytest.mark.parametrize("level", [20.0, 80.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_bias_field_spans_what_is_asked_for(level: float, seed: int) -> None:
    block = _block()
    inside = perturb(block, _make("bias", level), seed=seed).voxels[block.voxels > 0]
    # From 1 - level / 2 to 1 + level / 2 of the signal, up to a common factor.
    assert inside.max() / inside.min() == pytest.approx((200 + level) / (200 - level), rel=1e-4)


def test_a_bias_field_is_as_smooth_through_a_slab_as_along_it() -> None:
    thin, span = np.full((90, 100, 16), 100.0), []
    thin[0] = 0
    for seed in range(6):
        field = perturb(_volume(thin), _make("bias", 40), seed=seed).voxels[1:]
        span.append([np.ptp(field, axis=axis).mean() for axis in (0, 1, 2)])
    along_x, along_y, through = np.mean(span, axis=0)
    assert through < 0.5 * min(along_x, along_y)


@pytest.mark.parametrize("seed", range(4))
def test_a_slab_that_is_shifted_repeats_its_last_slice_and_stays_whole(seed: int) -> None:
    slab = _slab()
    moved = perturb(slab, _make("offset", 3.0), seed=seed).voxels
    up = np.concatenate([slab.voxels[:, :, :1]] * 3 + [slab.voxels[:, :, :-3]], axis=2)
    down = np.concatenate([slab.voxels[:, :, 3:]] + [slab.voxels[:, :, -1:]] * 3, axis=2)
    assert np.array_equal(moved, up) or np.array_equal(moved, down)
    stack = cut_perturbed(slab, _make("offset", 3.0), SliceSpec(size_px=64), seed=seed)
    assert len(stack.z_mm) == 32


def test_an_offset_reaches_slices_that_would_follow_the_head() -> None:
    brain, spec = _brain(), SliceSpec(n_slices=12, size_px=64)
    offset, clean = _make("offset", 4.0), cut_slices(brain, spec)
    seeds = {np.sign(_shift_mm(brain, offset, seed)): seed for seed in range(8)}
    for sign in (-1, 1):
        stack = cut_perturbed(brain, offset, spec, seed=seeds[sign])
        assert np.allclose(stack.z_mm, clean.z_mm)
        # What is seen at a height is what lay 4 mm lower, if the head went up.
        window = (float(clean.z_mm[0]) - 4 * sign, float(clean.z_mm[-1]) - 4 * sign)
        elsewhere = SliceSpec(n_slices=12, size_px=64, selection="window", window_mm=window)
        expected = cut_slices(brain, elsewhere)
        assert np.abs(stack.pixels.astype(int) - expected.pixels).max() <= 2
        followed = cut_slices(perturb(brain, offset, seed=seeds[sign]), spec)
        assert np.abs(followed.pixels.astype(int) - clean.pixels).mean() < 1


def _shift_mm(volume: Volume, offset: Perturbation, seed: int) -> float:
    moved = perturb(volume, offset, seed=seed)
    heights = [np.average(np.arange(v.voxels.shape[2]), weights=v.voxels.sum((0, 1)))
               for v in (moved, volume)]  # fmt: skip
    return float(heights[0] - heights[1]) * volume.spacing_mm[2]


def test_other_kinds_are_cut_as_such_a_scan_would_be() -> None:
    slab, spec = _slab(), SliceSpec(n_slices=16, size_px=64)
    noise = _make("noise", 5.0)
    stack = cut_perturbed(slab, noise, spec, seed=2)
    expected = cut_slices(perturb(slab, noise, seed=2), spec)
    assert np.array_equal(stack.pixels, expected.pixels)


def test_gamma_bends_the_contrast_about_black_and_the_brightest_tissue() -> None:
    ramp = np.zeros((20, 20, 20))
    ramp[2:-2] = np.linspace(1, 101, 16)[:, None, None]
    volume = _volume(ramp)
    bright = np.percentile(ramp[ramp > 0], 95)
    results = {perturb(volume, _make("gamma", 2.0), seed=seed).voxels[5, 5, 5] for seed in range(8)}
    value = float(volume.voxels[5, 5, 5]) / bright
    expected = [bright * value**2, bright * math.sqrt(value)]
    assert sorted(results) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [4.0, 10.0])
def test_a_rotation_turns_by_the_angle_in_millimetres(seed: int, level: float) -> None:
    spacing = (2.0, 2.0, 3.0)
    voxels = np.zeros((60, 60, 40))
    places = np.array([[12, 30, 20], [48, 30, 20], [30, 12, 20], [30, 48, 20], [30, 30, 6],
                       [30, 30, 34]])  # fmt: skip
    for i, (x, y, z) in enumerate(places):
        # Two voxels wide each way, and of one weight: the middle stays where it is.
        voxels[x - 2 : x + 3, y - 2 : y + 3, z - 2 : z + 3] = 10 + i
    turned = perturb(_volume(voxels, spacing), _make("rotation", level), seed=seed).voxels
    middle = np.argwhere(voxels > 0).mean(axis=0)
    before = (places - middle) * spacing
    after = []
    for place in before:
        # Blobs are 50 mm apart and move by less than 10.
        index = np.argwhere(turned > 0)
        near = index[np.linalg.norm((index - middle) * spacing - place, axis=1) < 22]
        weights = turned[tuple(near.T)]
        after.append((np.average(near, axis=0, weights=weights) - middle) * spacing)
    found, _ = Rotation.align_vectors(after, before)
    assert np.degrees(found.magnitude()) == pytest.approx(level, abs=0.3)
    assert np.abs(found.apply(before) - after).max() < 0.5


def _stripes(axis: int, shape: tuple[int, int, int] = (32, 32, 32)) -> Volume:
    """Bright and less bright layers in turn, one voxel each, on 2 mm."""
    along = np.where(np.arange(shape[axis]) % 2, 50.0, 100.0)
    return _volume(
        np.broadcast_to(np.expand_dims(along, [a for a in range(3) if a != axis]), shape)
    )


def _contrast(volume: Volume, axis: int) -> float:
    return float(np.abs(np.diff(volume.voxels[8:-8, 8:-8, 8:-8], axis=axis)).mean())


def test_thick_slices_wipe_out_detail_through_them_and_none_along_them() -> None:
    thick = _make("thickness", 6.0)
    # The lowest value counts as background: none of these volumes has any but its own stripes.
    for axis, kept in ((0, True), (1, True), (2, False)):
        volume = _volume(np.pad(_stripes(axis).voxels, 2))
        before, after = (_contrast(v, axis) for v in (volume, perturb(volume, thick, seed=0)))
        assert after == pytest.approx(before, rel=0.02) if kept else after < 0.1 * before


@pytest.mark.parametrize("axis", range(3))
def test_large_voxels_wipe_out_detail_in_every_direction(axis: int) -> None:
    volume = _volume(np.pad(_stripes(axis).voxels, 2))
    coarse = perturb(volume, _make("resolution", 6.0), seed=0)
    assert _contrast(coarse, axis) < 0.1 * _contrast(volume, axis)


def test_voxels_are_never_made_smaller_than_they_are() -> None:
    slab = _slab()
    result = perturb(slab, _make("resolution", 0.5), seed=0)
    assert np.allclose(result.voxels, slab.voxels, atol=1e-2)


@pytest.mark.parametrize("kind", ["motion", "thickness", "resolution"])
def test_the_ends_of_a_slab_do_not_fade(kind: PerturbationKind) -> None:
    slab = _slab()
    same = _volume(np.repeat(slab.voxels[:, :, 16:17], 32, axis=2))
    sums = perturb(same, _severe(kind), seed=2).voxels.sum(axis=(0, 1))
    assert sums[[0, -1]] == pytest.approx(sums[16], rel=0.03)


def test_motion_blurs_along_the_slow_axis_what_stands_across_it() -> None:
    """Ghosts repeat edges from front to back: a bar across that direction leaves its place."""
    voxels = np.full((48, 48, 48), 20.0)
    voxels[:, 22:26] = 100.0
    voxels = np.pad(voxels, 2)
    moved = perturb(_volume(voxels), _make("motion", 6.0), seed=1).voxels
    ghost = np.abs(moved - voxels)[12:-12, 6:18, 12:-12]
    assert ghost.mean() > 0.3
    assert np.abs(moved.mean() / voxels.mean() - 1) < 0.05


def test_levels_of_a_kind_share_their_draw_and_scans_do_not() -> None:
    def seed(kind: PerturbationKind, level: float, key: str = "a", run: int = 0) -> int:
        return perturbation_seed(volume_key=key, perturbation=_make(kind, level), seed=run)

    assert seed("noise", 3.0) == seed("noise", 9.0)
    others = [seed("motion", 3.0), seed("noise", 3.0, key="b"), seed("noise", 3.0, run=1)]
    assert len({seed("noise", 3.0), *others}) == 4


def test_a_key_tells_apart_everything_that_shapes_a_volume() -> None:
    def key(make: Callable[[], Perturbation], volume: str = "a", seed: int = 0) -> str:
        return perturbed_key(volume_key=volume, perturbation=make(), seed=seed)

    keys = [
        key(lambda: _make("noise", 3.0)),
        key(lambda: _make("noise", 5.0)),
        key(lambda: _make("motion", 3.0)),
        key(lambda: _make("noise", 3.0), volume="b"),
        key(lambda: _make("noise", 3.0), seed=1),
    ]
    assert len(set(keys)) == 5
    assert keys[0] == key(lambda: _make("noise", 3.0))


@pytest.mark.parametrize(
    ("kind", "level"),
    [("noise", 0.0), ("noise", -1.0), ("noise", math.nan), ("bias", 200.0), ("blur", 1.0)],
)
def test_levels_that_mean_nothing_are_refused(kind: str, level: float) -> None:
    with pytest.raises(ValidationError):
        Perturbation(kind=kind, level=level)
