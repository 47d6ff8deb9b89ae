"""What passes untouched: a stripped brain, or a slab of one, in the template's space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from mri_transfer.scans.preparation import PreparationSpec, prepare_scan
from mri_transfer.scans.preparation.passthrough import is_slab, lies_in_place, turn_in_place
from mri_transfer.scans.preparation.pose import TURNS
from mri_transfer.scans.volumes import Volume
from tests.heads_phantom import grow_brain, in_place_head, some_brain, turned_content

#: What is quick when a scan does not pass after all.
QUICK = PreparationSpec(registration=False, bias_field=False)
UPSIDE_DOWN = np.diag([-1.0, 1.0, -1.0])


def _slab(volume: Volume, low_mm: float = 0.0, high_mm: float = 40.0) -> Volume:
    z_mm = volume.affine[2, 3] + volume.affine[2, 2] * np.arange(volume.voxels.shape[2])
    inside = np.flatnonzero((z_mm >= low_mm) & (z_mm < high_mm))
    affine = volume.affine.copy()
    affine[2, 3] = z_mm[inside[0]]
    voxels = np.ascontiguousarray(volume.voxels[:, :, inside])
    return Volume(voxels=voxels, affine=affine, scan_id="slab")


def _upside_down(volume: Volume) -> Volume:
    """Turn the brain about its own middle, so that it still lies where the template's does."""
    turned = turned_content(volume, UPSIDE_DOWN)
    filled = [np.argwhere(each.voxels > 0) for each in (volume, turned)]
    middles = [
        each.affine[:3, 3] + each.affine[0, 0] * (at.min(axis=0) + at.max(axis=0)) / 2
        for each, at in zip((volume, turned), filled, strict=True)
    ]
    affine = turned.affine.copy()
    affine[:3, 3] += middles[0] - middles[1]
    return dataclasses.replace(turned, affine=affine)


@pytest.mark.parametrize("make", [lambda volume: volume, _slab], ids=["whole", "slab"])
def test_a_brain_in_template_space_passes_untouched(make: Callable[[Volume], Volume]) -> None:
    volume = make(some_brain())
    before = volume.voxels.tobytes()
    prepared = prepare_scan(volume, PreparationSpec())
    assert prepared.passed_through
    assert prepared.volume is volume
    assert volume.voxels.tobytes() == before
    assert prepared.steps == ()
    assert prepared.alignment is None
    assert prepared.turn == 0
    assert prepared.margin > 0
    assert prepared.covered.all()
    assert (prepared.mask >= (volume.voxels > 0)).mean() > 0.999


@pytest.mark.parametrize("shift_mm", [-30.0, 30.0])
def test_a_brain_that_lies_elsewhere_does_not_pass(shift_mm: float) -> None:
    moved = grow_brain(shift_mm=shift_mm)
    assert not lies_in_place(moved)
    assert not prepare_scan(moved, QUICK).passed_through


def test_a_head_with_its_skull_does_not_pass() -> None:
    head = in_place_head().volume
    assert not lies_in_place(head)
    assert not prepare_scan(head, QUICK).passed_through


def test_a_whole_brain_upside_down_is_prepared_and_not_passed() -> None:
    scan = _upside_down(some_brain())
    assert lies_in_place(scan)
    assert not is_slab(scan)
    turn, lead = turn_in_place(scan)
    np.testing.assert_array_equal(TURNS[turn], UPSIDE_DOWN)
    assert lead > 0
    assert not prepare_scan(scan, QUICK).passed_through


def test_a_slab_that_lies_back_to_front_passes_with_its_turn_told() -> None:
    scan = turned_content(_slab(some_brain()), np.diag([-1.0, -1.0, 1.0]))
    prepared = prepare_scan(scan, PreparationSpec())
    assert prepared.volume is scan
    np.testing.assert_array_equal(TURNS[prepared.turn], np.diag([-1, -1, 1]))


def test_a_slab_holds_less_than_the_brain() -> None:
    brain = some_brain()
    assert not is_slab(brain)
    assert is_slab(_slab(brain))
    assert not is_slab(_slab(brain, -60.0, 90.0))


def test_all_prepares_even_what_is_ready() -> None:
    spec = dataclasses.replace(QUICK, scans="all")
    prepared = prepare_scan(some_brain(), spec)
    assert not prepared.passed_through
    assert prepared.steps == ("resampling to 1 mm", "brain mask as delivered")


def test_none_lets_even_a_head_pass() -> None:
    head = in_place_head().volume
    prepared = prepare_scan(head, PreparationSpec(scans="none"))
    assert prepared.passed_through
    assert prepared.volume is head
