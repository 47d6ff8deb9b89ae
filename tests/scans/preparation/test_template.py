"""The template: its grids, and the one change between RAS and SimpleITK's LPS."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nilearn import datasets

from mri_transfer.scans.preparation.template import (
    Grid,
    affine_of_image,
    array_of_image,
    image_of_array,
    image_of_volume,
    itk_affine,
    load_template,
    prepared_grid,
    ras_matrix,
    template_brain_mm3,
    to_spacing,
)
from tests.heads_phantom import pose_matrix, some_head
from tests.phantoms import asymmetric_phantom, ras_affine

OBLIQUE = pose_matrix(angles_deg=(20, -8, 35), scales=(1.2, 0.7, 2.5), shift_mm=(3, -40, 11))


def test_an_image_keeps_voxels_and_affine_there_and_back() -> None:
    voxels = asymmetric_phantom((5, 6, 7))
    image = image_of_array(voxels, OBLIQUE)
    np.testing.assert_array_equal(array_of_image(image), voxels)
    np.testing.assert_allclose(affine_of_image(image), OBLIQUE, atol=1e-9)


def test_simpleitk_sees_the_same_image_in_a_file_that_nibabel_wrote(tmp_path: Path) -> None:
    voxels = asymmetric_phantom((5, 6, 7))
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / "a.nii.gz")
    read = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    ours = image_of_array(voxels, OBLIQUE)
    assert read.GetPixelIDTypeAsString() == ours.GetPixelIDTypeAsString()
    for index in [(0, 0, 0), (4, 0, 2), (1, 5, 6)]:
        assert read[index] == ours[index]
        np.testing.assert_allclose(
            read.TransformIndexToPhysicalPoint(index),
            ours.TransformIndexToPhysicalPoint(index),
            atol=1e-4,
        )


def test_a_matrix_and_its_itk_transform_say_the_same_about_points() -> None:
    transform = itk_affine(OBLIQUE)
    lps = np.array([-1.0, -1.0, 1.0])
    for point in np.random.default_rng(0).uniform(-90, 90, (5, 3)):
        expected = (OBLIQUE @ np.append(point, 1))[:3]
        moved = np.array(transform.TransformPoint((point * lps).tolist())) * lps
        np.testing.assert_allclose(moved, expected, atol=1e-9)
    np.testing.assert_allclose(ras_matrix(transform), OBLIQUE, atol=1e-9)


def test_the_template_lies_where_nilearn_says() -> None:
    template = load_template()
    loaded = datasets.load_mni152_template(resolution=1)
    np.testing.assert_allclose(affine_of_image(template.t1), loaded.affine, atol=1e-9)
    np.testing.assert_allclose(array_of_image(template.t1), loaded.get_fdata(), atol=1e-6)
    assert 1.7e6 < template_brain_mm3() < 2.0e6
    on_itself = template.mask_on(template.t1)
    difference = on_itself != (array_of_image(template.mask) > 0)
    assert difference.mean() < 1e-6


def test_a_margin_grows_and_shrinks_the_mask_by_millimetres() -> None:
    grid = prepared_grid(crop=False).image(spacing_mm=2.0)
    template = load_template()
    areas = [template.mask_on(grid, margin_mm=mm) for mm in (-8, 0, 8)]
    for smaller, larger in itertools.pairwise(areas):
        assert not (smaller & ~larger).any()
    # Along the line from the middle to the left the outline moves by the margin.
    _x, y, z = (round((p - o) / 2) for p, o in zip((0, -18, 20), (-98, -134, -72), strict=True))
    ends = [int(np.flatnonzero(area[:, y, z]).min()) for area in areas]
    assert ends[0] - ends[1] == pytest.approx(4, abs=1)
    assert ends[1] - ends[2] == pytest.approx(4, abs=1)


@pytest.mark.parametrize("crop", [True, False])
def test_the_grid_holds_the_whole_template_brain_at_1_mm(crop: bool) -> None:
    grid = prepared_grid(crop=crop)
    image = grid.image()
    assert image.GetSize() == grid.size
    np.testing.assert_allclose(affine_of_image(image), grid.affine)
    inside = load_template().mask_on(image)
    assert inside.sum() == pytest.approx(template_brain_mm3(), rel=1e-3)
    if crop:  # the template's own grid cuts the brain stem
        faces = [inside.take(end, axis=axis) for axis in range(3) for end in (0, -1)]
        assert not any(face.any() for face in faces)


def test_a_coarser_grid_covers_the_same_box() -> None:
    grid = Grid(size=(9, 10, 12), origin_mm=(-4.0, 2.0, 1.0))
    image = grid.image(spacing_mm=2.0)
    assert image.GetSize() == (5, 5, 6)
    np.testing.assert_allclose(affine_of_image(image)[:3, 3], grid.origin_mm)


@pytest.mark.parametrize("spacing_mm", [2.0, 3.0, 8.0])
def test_resampling_keeps_the_field_of_view_and_the_picture(spacing_mm: float) -> None:
    """A ramp is a fixed point of blurring and interpolation, away from the edges."""
    affine = ras_affine((1.0, 2.0, 1.5), (-7.0, 3.0, 20.0))
    index = np.indices((48, 36, 40)).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    ramp = (2 * world[0] - world[1] + 3 * world[2]).reshape(48, 36, 40).astype(np.float32)
    image = image_of_array(ramp, affine)
    small = to_spacing(image, spacing_mm)
    assert small.GetSpacing() == (spacing_mm,) * 3
    there = affine_of_image(small)
    # The corners of the first voxels lie at the same place.
    corner = affine @ [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(there @ [-0.5, -0.5, -0.5, 1], corner, atol=1e-6)
    inner = np.array(list(np.ndindex(small.GetSize())))
    middle = (np.array(small.GetSize()) - 1) / 2
    inner = inner[(np.abs(inner - middle) <= middle / 3).all(axis=1)]
    at = there @ np.c_[inner, np.ones(len(inner))].T
    got = array_of_image(small)[tuple(inner.T)]
    np.testing.assert_allclose(got, 2 * at[0] - at[1] + 3 * at[2], atol=0.05)


def test_fine_detail_does_not_alias_into_a_coarse_image() -> None:
    """Noise must be averaged: interpolation alone would leave a third of its deviation."""
    noise = np.random.default_rng(0).standard_normal((64, 64, 64)).astype(np.float32)
    small = array_of_image(to_spacing(image_of_array(noise, np.eye(4)), 4.0))
    assert small[1:-1, 1:-1, 1:-1].std() < 0.15


def test_a_volume_becomes_an_image_in_its_own_place() -> None:
    volume = some_head().volume
    image = image_of_volume(volume)
    np.testing.assert_allclose(affine_of_image(image), volume.affine, atol=1e-9)
    np.testing.assert_array_equal(array_of_image(image), volume.voxels)
