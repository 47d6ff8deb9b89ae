"""Fingerprints: one brain is known again, two brains are told apart; voxels without header."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mri_transfer.core.tensorfile import read_tensors, write_tensors
from mri_transfer.errors import StoreError
from mri_transfer.evaluation.audit.likeness import similarities
from mri_transfer.scans.preparation.fingerprint import (
    NOT_COVERED,
    VOXEL_MM3,
    Fingerprint,
    fingerprint,
    voxel_sha256,
)
from mri_transfer.scans.preparation.placement import place
from mri_transfer.scans.preparation.template import (
    affine_of_image,
    load_template,
    prepared_grid,
    template_brain_mm3,
)
from mri_transfer.scans.volumes import Volume, load_volume
from tests.phantoms import ALL_ORIENTATIONS, asymmetric_phantom, ras_affine, store_nifti

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@functools.cache
def _grid() -> tuple[FloatArray, BoolArray, npt.NDArray[np.float64]]:
    """Return the template's signal and brain, and the affine, at 2 mm."""
    image = prepared_grid(crop=True).image(spacing_mm=2.0)
    template = load_template()
    return template.tissue_on(image, "t1"), template.mask_on(image), affine_of_image(image)


def _person(seed: int) -> FloatArray:
    """Return a brain with folds of its own, 2 mm."""
    template, brain, _ = _grid()
    noise = np.random.default_rng(seed).normal(size=template.shape)
    folds = ndimage.gaussian_filter(noise, 1.2) - ndimage.gaussian_filter(noise, 3)
    return np.where(brain, template * (1 + 0.15 * folds / folds.std()), 0).astype(np.float32)


def _print_of(voxels: FloatArray, mask: BoolArray | None = None) -> Fingerprint:
    _, brain, affine = _grid()
    volume = Volume(voxels=voxels.astype(np.float32), affine=affine, scan_id="s")
    return fingerprint(volume, brain if mask is None else mask, registered=True)


def _likeness(one: Fingerprint, other: Fingerprint) -> float:
    """Return the correlation over what both cover, straight from its definition."""
    both = one.covered & other.covered
    a, b = one.values[both].astype(float), other.values[both].astype(float)
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def _changed(voxels: FloatArray, how: str) -> FloatArray:
    _, brain, _ = _grid()
    rng = np.random.default_rng(5)
    if how == "noise":
        return voxels + brain * rng.normal(0, 0.05, voxels.shape)
    if how == "contrast":
        return voxels**1.4
    if how == "shading":
        ramps = (np.linspace(-0.3, 0.3, extent) for extent in voxels.shape)
        return voxels * np.exp(functools.reduce(np.add.outer, ramps))
    return ndimage.shift(voxels, (0.25, -0.25, 0.25), order=1)


@pytest.mark.parametrize("how", ["noise", "contrast", "shading", "shift of 0.9 mm"])
def test_a_brain_is_known_again_and_others_are_not(how: str) -> None:
    person, others = _person(1), [_person(2), _person(3)]
    again = _print_of(_changed(person, how))
    assert _likeness(_print_of(person), again) > 0.85
    assert max(_likeness(_print_of(other), again) for other in others) < 0.2


def test_the_unit_of_the_signal_does_not_matter() -> None:
    person = _person(1)
    one, other = _print_of(person), _print_of(person * 4096)
    np.testing.assert_array_equal(one.values, other.values)


def test_what_all_brains_share_is_not_in_it() -> None:
    template, _, _ = _grid()
    like_template = _likeness(_print_of(template), _print_of(_person(1)))
    assert abs(like_template) < 0.2


def test_mirroring_a_scan_mirrors_its_fingerprint() -> None:
    person = _person(1)
    # The grid's first and last voxels lie equally far from 0.
    mirrored = _print_of(person[::-1], _grid()[1][::-1])
    assert _likeness(_print_of(person).mirrored(), mirrored) > 0.97
    assert _likeness(_print_of(person), mirrored) < 0.3
    twice = _print_of(person).mirrored().mirrored()
    np.testing.assert_array_equal(twice.values, _print_of(person).values)


def test_a_whole_brain_covers_the_template_and_a_slab_its_slices_only() -> None:
    person, (_, brain, _) = _person(1), _grid()
    whole = _print_of(person)
    assert whole.covered.sum() * VOXEL_MM3 == pytest.approx(template_brain_mm3(), rel=0.05)
    slab_mask = brain.copy()
    slab_mask[:, :, :40] = slab_mask[:, :, 56:] = False
    slab = _print_of(np.where(slab_mask, person, 0), slab_mask)
    share = slab_mask.sum() / brain.sum()
    assert slab.covered.sum() / whole.covered.sum() == pytest.approx(share, rel=0.1)
    assert (whole.covered | ~slab.covered).all()
    assert _likeness(whole, slab) > 0.9


def _turned_slab(person: FloatArray, brain: BoolArray) -> tuple[Volume, BoolArray]:
    """Return a slab whose header is wrong by half a turn, 6 mm, and a twentieth of its size."""
    _, _, affine = _grid()
    at = np.s_[:, :, 40:56]
    turned = affine.copy()
    turned[:3, 3] += (0.0, -6.0, 2 * 40.0)
    turned[:3] *= 0.95
    voxels = np.ascontiguousarray(person[at][::-1, ::-1])
    return Volume(voxels=voxels, affine=turned, scan_id="slab"), brain[at][::-1, ::-1].copy()


def test_a_slab_that_lies_elsewhere_is_placed_by_its_content() -> None:
    person, (template, brain, _) = _person(1), _grid()
    person = np.where(template > 0, 0.5 * (person + template), 0).astype(np.float32)
    volume, mask = _turned_slab(person, brain)
    placed = fingerprint(volume, mask, registered=False)
    trusted = fingerprint(volume, mask, registered=True)
    assert _likeness(_print_of(person), placed) > 0.7
    assert _likeness(_print_of(person), trusted) < 0.3
    again = fingerprint(volume, mask, registered=False, turn=3)
    np.testing.assert_array_equal(placed.values, again.values)


def test_a_placement_says_where_the_template_lies() -> None:
    template, brain, affine = _grid()
    volume, mask = _turned_slab(template, brain)
    point = np.array([20.0, -30.0, 18.0, 1.0])
    index = np.linalg.inv(affine) @ point
    stored = np.array([*(np.array(brain.shape[:2]) - 1 - index[:2]), index[2] - 40, 1.0])
    found = place(volume, mask) @ point
    assert np.linalg.norm(found[:3] - (volume.affine @ stored)[:3]) < 1.5


def test_the_number_of_threads_does_not_matter() -> None:
    import SimpleITK as sitk

    person, (_, brain, _) = _person(1), _grid()
    volume, mask = _turned_slab(person, brain)
    count = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    values = []
    try:
        for threads in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            values.append(fingerprint(volume, mask, registered=False, turn=3).values)
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
    np.testing.assert_array_equal(values[0], values[1])


def test_no_brain_covers_nothing_and_a_flat_one_has_no_folds() -> None:
    person, (_, brain, _) = _person(1), _grid()
    assert not _print_of(person, np.zeros_like(brain)).covered.any()
    rounding = np.random.default_rng(0).normal(0, 1e-4, brain.shape)
    flat = _print_of(brain * (1 + rounding))
    assert flat.covered.any()
    assert (flat.values[flat.covered] == 0).all()


def test_folds_of_low_contrast_count_as_much_as_others() -> None:
    person, (_, brain, _) = _person(1), _grid()
    at = np.arange(brain.shape[1])[None, :, None]
    pale = np.where(at < brain.shape[1] // 2, person, np.where(brain, 0.5 + 0.3 * person, 0))
    assert _likeness(_print_of(person), _print_of(pale)) > 0.97


def test_it_is_small_and_comes_back_from_a_file_as_it_was(tmp_path: Path) -> None:
    found = _print_of(_person(1))
    path = tmp_path / "f.safetensors"
    write_tensors(path, {"fingerprint": found.values}, schema="test")
    assert path.stat().st_size < 30_000
    again = Fingerprint(values=read_tensors(path, schema="test")["fingerprint"])
    np.testing.assert_array_equal(again.values, found.values)


@pytest.mark.parametrize("values", [np.zeros(100, np.int8), np.zeros((2, 2)), np.zeros(29404)])
def test_an_array_of_another_kind_is_refused(values: npt.NDArray[np.generic]) -> None:
    with pytest.raises(StoreError, match="fingerprint"):
        Fingerprint(values=values)  # type: ignore[arg-type]


def test_uncovered_places_are_marked_with_a_value_that_no_fold_has() -> None:
    found = _print_of(_person(1))
    assert found.values.min() == NOT_COVERED
    assert np.abs(found.values[found.covered].astype(int)).max() <= 127


class TestVoxelSha256:
    def _digest(self, voxels: npt.NDArray[np.generic]) -> str:
        volume = Volume(voxels=voxels.astype(np.float32), affine=np.eye(4), scan_id="s")
        return voxel_sha256(volume)

    def test_all_orders_and_directions_of_axes_are_one_volume(self) -> None:
        phantom = asymmetric_phantom((7, 8, 9))
        stored = [phantom.transpose(o)[::x, ::y, ::z] for o, x, y, z in _orientations()]
        assert len({self._digest(voxels) for voxels in stored}) == 1

    def test_axes_of_one_length_are_ordered_by_what_they_show(self) -> None:
        cube = asymmetric_phantom((8, 8, 8))
        stored = [cube.transpose(o)[::x, ::y, ::z] for o, x, y, z in _orientations()]
        assert len({self._digest(voxels) for voxels in stored}) == 1

    @pytest.mark.parametrize("scale", [(0.1, -1000.0), (1 / 3, 0.0), (1e-5, 7.0), (40.0, 3.0)])
    def test_scale_factors_do_not_matter(self, scale: tuple[float, float]) -> None:
        phantom = asymmetric_phantom((7, 8, 9))
        slope, intercept = scale
        assert self._digest(phantom * slope + intercept) == self._digest(phantom)

    def test_an_empty_border_does_not_matter(self) -> None:
        phantom = asymmetric_phantom((7, 8, 9)) + 5
        padded = np.pad(phantom, ((1, 0), (2, 3), (0, 4)), constant_values=5)
        full = phantom[2:5, 2:6, 2:7]
        assert full.min() > 5
        assert self._digest(np.pad(full, 1)) == self._digest(full)
        assert self._digest(padded) == self._digest(phantom)

    def test_the_smallest_change_of_a_voxel_or_of_two_places_matters(self) -> None:
        phantom = asymmetric_phantom((7, 8, 9))
        changed, swapped = phantom.copy(), phantom.copy()
        changed[3, 4, 5] = phantom.max()
        swapped[3, 4, 5], swapped[3, 4, 4] = phantom[3, 4, 4], phantom[3, 4, 5]
        assert phantom[3, 4, 4] != phantom[3, 4, 5]
        assert len({self._digest(voxels) for voxels in (phantom, changed, swapped)}) == 3

    def test_the_same_row_of_voxels_in_another_shape_is_another_volume(self) -> None:
        row = np.arange(24)
        assert self._digest(row.reshape(2, 3, 4)) != self._digest(row.reshape(2, 2, 6))

    @given(
        a=st.lists(st.integers(0, 3), min_size=12, max_size=12),
        b=st.lists(st.integers(0, 3), min_size=12, max_size=12),
    )
    @settings(max_examples=200, deadline=None)
    def test_volumes_of_one_digest_are_turns_of_each_other(
        self, a: list[int], b: list[int]
    ) -> None:
        one, other = (np.array(values).reshape(2, 2, 3) for values in (a, b))
        if self._digest(one) == self._digest(other):
            one, other = (_rank_of_shown(voxels) for voxels in (one, other))
            turns = (one.transpose(o)[::x, ::y, ::z] for o, x, y, z in _orientations())
            assert any(np.array_equal(turn, other) for turn in turns)

    def test_files_with_other_headers_hold_one_volume(self, tmp_path: Path) -> None:
        phantom = asymmetric_phantom()
        other_place = ras_affine((1.2, 0.9, 2.0), (5.0, 6.0, 7.0))
        paths = [
            store_nifti(tmp_path / "a.nii", phantom),
            store_nifti(tmp_path / "b.nii.gz", phantom, other_place, dtype=">f4", version=2),
            *(
                store_nifti(tmp_path / f"{c}.nii", phantom, axcodes=c)
                for c in ALL_ORIENTATIONS[::7]
            ),
        ]
        digests = {voxel_sha256(load_volume(path, scan_id=path.stem)) for path in paths}
        assert len(digests) == 1

    @pytest.mark.data
    def test_a_real_scan_under_another_header_is_known_and_others_are_not(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        paths = sorted(shared_data.glob("ixi-16/sub-*/anat/*_T1w.nii.gz"))[:3]
        volumes = [load_volume(path, scan_id=path.stem) for path in paths]
        copy = store_nifti(
            tmp_path / "copy.nii", volumes[0].voxels * 0.5, axcodes="LIA", dtype="f8"
        )
        digests = [voxel_sha256(volume) for volume in volumes]
        assert len(set(digests)) == 3
        assert voxel_sha256(load_volume(copy, scan_id="copy")) == digests[0]


def _orientations() -> list[tuple[tuple[int, int, int], int, int, int]]:
    return [
        (order, *signs)
        for order in itertools.permutations((0, 1, 2))
        for signs in itertools.product((1, -1), repeat=3)
    ]


def _rank_of_shown(voxels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return ranks inside the box of what is not the lowest value."""
    where = np.argwhere(voxels > voxels.min())
    if where.size:
        low, high = where.min(axis=0), where.max(axis=0) + 1
        voxels = voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    else:
        voxels = voxels[:1, :1, :1]
    return np.unique(voxels, return_inverse=True)[1].reshape(voxels.shape)


@pytest.mark.data
@pytest.mark.slow
def test_two_sessions_of_one_person_are_more_alike_than_any_two_people(shared_data: Path) -> None:
    from mri_transfer.scans.preparation import PreparationSpec, prepare_scan

    people, prints = [], []
    for path in sorted(shared_data.glob("oasis1-repeat-5/sub-*/ses-*/anat/*_T1w.nii.gz")):
        prepared = prepare_scan(load_volume(path, scan_id=path.stem), PreparationSpec())
        registered = prepared.alignment is not None
        prints.append(fingerprint(prepared.volume, prepared.mask, registered=registered))
        people.append(path.name.split("_")[0])
    alike = similarities(prints)
    pairs = [(alike[i, j], people[i] == people[j]) for i in range(5) for j in range(i)]
    same = [likeness for likeness, one_person in pairs if one_person]
    different = [likeness for likeness, one_person in pairs if not one_person]
    assert (len(same), len(different)) == (2, 8)
    assert min(same) > 0.9
    assert max(different) < 0.4
