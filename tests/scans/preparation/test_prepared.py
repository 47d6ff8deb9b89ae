"""Preparation as a whole: what comes out, under which key, and how it fails."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic
import pytest
from nilearn import datasets
from scipy import ndimage

from mri_transfer.errors import ConfigurationError, PreparationError
from mri_transfer.scans.preparation import PreparationSpec, prepare_scan, prepared_key
from mri_transfer.scans.preparation.template import prepared_grid
from mri_transfer.scans.volumes import Volume
from tests.heads_phantom import grow_head, in_place_head, prepared_head, some_head

#: Only what must be done: a head that lies in place is sampled and masked.
QUICK = PreparationSpec(registration=False, bias_field=False)


def _head(**changes: Any) -> Volume:
    return dataclasses.replace(in_place_head().volume, **changes)


def test_a_head_becomes_a_brain_on_the_template() -> None:
    prepared = prepared_head()
    grid = prepared_grid(crop=True)
    voxels = prepared.volume.voxels
    assert voxels.shape == prepared.mask.shape == prepared.covered.shape == grid.size
    assert voxels.dtype == np.float32
    np.testing.assert_array_equal(prepared.volume.affine, grid.affine)
    assert not prepared.passed_through
    assert prepared.turn == 0
    assert prepared.steps == (
        "affine registration",
        "N4 bias field correction",
        "resampling to 1 mm",
        "brain mask: own",
    )
    assert (voxels[~prepared.mask] == 0).all()
    assert (voxels[prepared.mask] > 0).mean() > 0.99
    assert prepared.covered[prepared.mask].all()
    # The brain lies where the template's does, and looks like it.
    loaded = datasets.load_mni152_template(resolution=1)
    at = np.indices(grid.size).reshape(3, -1) + np.array(grid.origin_mm)[:, None]
    index = np.rint(at - np.asarray(loaded.affine)[:3, 3:]).astype(int)
    template = ndimage.map_coordinates(loaded.get_fdata(), index, order=0, cval=0.0)
    template = template.reshape(grid.size)
    both = prepared.mask & (template > 0)
    assert np.corrcoef(voxels[both], template[both])[0, 1] > 0.75


def test_the_same_scan_gives_the_same_bytes() -> None:
    one, other = (prepare_scan(_head(), QUICK) for _ in range(2))
    assert one.volume.voxels.tobytes() == other.volume.voxels.tobytes()
    assert one.mask.tobytes() == other.mask.tobytes()


def test_with_every_step_off_the_signal_is_the_scans_own() -> None:
    spec = dataclasses.replace(QUICK, brain_extraction="none", crop=False)
    head = in_place_head().volume
    prepared = prepare_scan(head, spec)
    assert prepared.steps == ("resampling to 1 mm",)
    assert prepared.alignment is None
    # By another interpolator than ours, at places that both cover.
    grid = prepared_grid(crop=False)
    rng = np.random.default_rng(0)
    index = rng.integers(20, np.array(grid.size) - 20, size=(500, 3))
    world = index + np.array(grid.origin_mm)
    at = np.linalg.solve(head.affine, _homogeneous(world))[:3]
    expected = ndimage.map_coordinates(head.voxels, at, order=1)
    np.testing.assert_allclose(prepared.volume.voxels[tuple(index.T)], expected, rtol=1e-3, atol=1)


def test_the_bias_field_is_taken_out() -> None:
    head, prepared = some_head(), prepared_head()
    assert prepared.alignment is not None
    index = np.argwhere(prepared.mask)[::50]
    world = prepared.alignment.matrix @ prepared.volume.affine @ _homogeneous(index)
    at = np.linalg.solve(head.volume.affine, world)[:3]
    raw = ndimage.map_coordinates(head.volume.voxels, at, order=1)
    field = ndimage.map_coordinates(head.field, at, order=1)
    corrected = prepared.volume.voxels[tuple(index.T)]
    tissue = (raw > 200) & (corrected > 0)
    removed = np.log(raw[tissue] / corrected[tissue])
    assert np.corrcoef(removed, np.log(field[tissue]))[0, 1] > 0.9


def _homogeneous(index: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.c_[index, np.ones(len(index))].T


def test_a_stripped_scan_keeps_its_own_outline() -> None:
    brain = grow_head(
        spacing_mm=2.0,
        size_mm=(200.0, 240.0, 200.0),
        middle_mm=(0.0, -18.0, 8.0),
        matrix=np.diag([0.9, 0.9, 0.9, 1.0]),
        skull=False,
        bias=0.0,
    )
    voxels = brain.volume.voxels.copy()
    voxels[:, :48] = 0  # part of the brain was taken off by whoever stripped it
    scan = dataclasses.replace(brain.volume, voxels=voxels)
    prepared = prepare_scan(scan, QUICK)
    assert prepared.steps[-1] == "brain mask as delivered"
    assert (prepared.mask == (prepared.volume.voxels > 0)).mean() > 0.995
    assert prepared.mask.sum() == pytest.approx(8 * (voxels > 0).sum(), rel=0.05)


def test_a_field_of_view_that_ends_early_is_told_by_what_is_covered() -> None:
    head = in_place_head().volume
    top = int((40 - head.affine[2, 3]) / 2)
    prepared = prepare_scan(_head(voxels=np.ascontiguousarray(head.voxels[:, :, :top])), QUICK)
    z_mm = prepared_grid(crop=True).origin_mm[2] + np.arange(prepared.covered.shape[2])
    assert prepared.covered[:, :, z_mm < 36].all()
    assert not prepared.covered[:, :, z_mm > 42].any()
    # Where nothing was seen, nothing is called brain.
    assert not (prepared.mask & ~prepared.covered).any()


def test_a_spline_never_gives_negative_signal() -> None:
    spec = dataclasses.replace(QUICK, interpolation="bspline", brain_extraction="none")
    spline = prepare_scan(_head(), spec)
    linear = prepare_scan(_head(), dataclasses.replace(spec, interpolation="linear"))
    assert spline.volume.voxels.min() == 0
    assert not np.array_equal(spline.volume.voxels, linear.volume.voxels)
    both = [scan.volume.voxels[linear.mask] for scan in (spline, linear)]
    assert np.corrcoef(*both)[0, 1] > 0.95


def test_the_grid_may_be_the_templates_own() -> None:
    whole = prepare_scan(_head(), dataclasses.replace(QUICK, crop=False))
    cropped = prepare_scan(_head(), QUICK)
    assert whole.volume.voxels.shape == (197, 233, 189)
    assert cropped.volume.voxels.shape == (161, 197, 167)
    offset = (cropped.volume.affine - whole.volume.affine)[:3, 3].astype(int)
    assert tuple(offset) == (18, 21, -4)
    inside = (slice(18, 18 + 161), slice(21, 21 + 197), slice(0, 163))
    masks = whole.mask[inside], cropped.mask[:, :, 4:]
    assert (masks[0] != masks[1]).mean() < 0.01  # found at 2 mm on grids that are 1 mm apart
    both = masks[0] & masks[1]
    np.testing.assert_allclose(
        whole.volume.voxels[inside][both], cropped.volume.voxels[:, :, 4:][both], rtol=1e-4
    )


SHAPING: dict[str, Any] = {
    "scans": "all",
    "registration": False,
    "bias_field": False,
    "brain_extraction": "none",
    "crop": False,
    "interpolation": "bspline",
}


def test_the_key_changes_with_all_that_shapes_the_scan_and_with_nothing_else() -> None:
    spec = PreparationSpec()
    fields = {field.name for field in dataclasses.fields(spec)}
    assert fields == {*SHAPING, "timeout_s"}, "a new setting: does it shape the scan?"
    first = prepared_key(scan_sha256="a" * 64, spec=spec)
    keys = [prepared_key(scan_sha256="b" * 64, spec=spec)]
    for name, value in SHAPING.items():
        changed = dataclasses.replace(spec, **{name: value})
        keys.append(prepared_key(scan_sha256="a" * 64, spec=changed))
    assert len({first, *keys}) == 1 + len(keys)
    slower = dataclasses.replace(spec, timeout_s=5)
    assert prepared_key(scan_sha256="a" * 64, spec=slower) == first
    assert len(first) == 64


@pytest.mark.parametrize(
    "settings",
    [{"scans": "some"}, {"timeout_s": 0}, {"brain_extraction": "bet"}, {"resampling": 1}],
)
def test_a_setting_that_cannot_be_meant_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        PreparationSpec(**settings)


@pytest.mark.parametrize("kind", ["speck", "noise", "below zero"])
def test_a_scan_that_cannot_be_prepared_is_a_fault_of_the_scan(kind: str) -> None:
    voxels = np.random.default_rng(0).random((20, 20, 20)).astype(np.float32)
    if kind == "speck":
        voxels[np.arange(8000).reshape(voxels.shape) != 4210] = 0
    if kind == "below zero":
        voxels -= 5000
    scan = Volume(voxels=voxels, affine=np.eye(4), scan_id="odd")
    with pytest.raises(PreparationError, match="scan odd: ") as caught:
        prepare_scan(scan, PreparationSpec())
    message = str(caught.value)
    assert "\n" not in message
    # The same words on every run and machine: no place in memory, no folder of ITK's makers.
    assert "0x" not in message
    assert ".hxx" not in message


def test_a_program_that_is_not_installed_is_no_fault_of_the_scan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    spec = dataclasses.replace(QUICK, brain_extraction="hd-bet")
    with pytest.raises(ConfigurationError, match="hd-bet"):
        prepare_scan(_head(), spec)
