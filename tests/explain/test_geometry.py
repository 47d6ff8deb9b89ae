"""Where pixels lie: found again in the volume, whatever the order on disk."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.explain.geometry import SliceGeometry, slice_geometry
from mri_transfer.scans.slices import SliceSpec, cut_slices
from mri_transfer.scans.volumes import load_volume
from tests.phantoms import ras_affine, store_nifti


@pytest.mark.parametrize("aspect", ["keep", "stretch"])
@pytest.mark.parametrize("axcodes", ["RAS", "PIL", "LSA"])
def test_a_bright_spot_is_found_again_in_millimetres(tmp_path, axcodes: str, aspect) -> None:
    voxels = np.zeros((40, 50, 44), dtype=np.float32)
    voxels[8:32, 8:42, 4:40] = 100
    voxels[25:28, 33:36, 17:20] = 1000
    path = store_nifti(tmp_path / "a.nii.gz", voxels, ras_affine((2.0, 1.5, 3.0)), axcodes=axcodes)
    volume = load_volume(path, scan_id="a")
    spec = SliceSpec(n_slices=16, size_px=96, aspect=aspect, percentiles=(0.0, 100.0))
    stack = cut_slices(volume, spec)
    geometry = slice_geometry(path, stack, spec=spec)
    assert geometry.shape == volume.voxels.shape
    assert np.allclose(geometry.affine, volume.affine)
    bright = np.where(stack.pixels > 128, stack.pixels, 0).astype(float)
    centre = [(bright * at).sum() / bright.sum() for at in np.indices(bright.shape)]
    found = geometry.to_mm(*(np.array(value) for value in centre))
    wanted = (volume.affine @ [26, 34, 18, 1])[:3]
    # A seventh of the smallest voxel: pixels are resized and rounded.
    assert np.abs(found - wanted).max() < 0.15


def some_geometry(**settings) -> SliceGeometry:
    spec = SliceSpec(n_slices=5, size_px=64, **settings)
    z_mm = np.array([-8.0, -2.0, 1.0, 7.0, 16.0])
    return SliceGeometry.of((30, 41, 33), ras_affine((2.0, 1.5, 3.0)), z_mm, spec)


def test_millimetres_lead_back_to_the_pixel() -> None:
    geometry = some_geometry()
    rng = np.random.default_rng(0)
    at = [rng.uniform(0, 4, 50), rng.uniform(5, 60, 50), rng.uniform(5, 60, 50)]
    position, inside = geometry.to_pixels(geometry.to_mm(*at))
    assert inside.all()
    assert np.allclose(position, at)


def test_outside_of_the_slices_there_is_nothing() -> None:
    geometry = some_geometry()
    points = geometry.to_mm(np.array([2.0]), np.array([30.0]), np.array([30.0]))
    above = points + np.array([0, 0, 60.0])[:, None]
    aside = points + np.array([200.0, 0, 0])[:, None]
    values = geometry.sample(np.ones((5, 4, 4)), np.concatenate([points, above, aside], axis=1))
    assert values[0] == 1
    assert np.isnan(values[1:]).all()


def test_cells_cover_the_picture_and_add_up_to_its_volume() -> None:
    geometry = some_geometry(aspect="stretch")
    points = geometry.cell_points_mm((4, 7), per_edge=3)
    assert points.shape == (3, 5, 4, 7, 9)
    position, _ = geometry.to_pixels(points)
    # The points of a cell lie in that cell.
    assert np.array_equal(np.floor((position[1] + 0.5) * 4 / 64)[2, :, 0, 0], np.arange(4))
    assert np.array_equal(np.floor((position[2] + 0.5) * 7 / 64)[2, 0, :, 0], np.arange(7))
    area_mm2 = 30 * 2.0 * 41 * 1.5
    whole = (geometry.cell_ml((4, 7)) * 28).sum()
    assert whole == pytest.approx(area_mm2 * geometry.thickness_mm.sum() / 1000)
    assert geometry.thickness_mm[1] == pytest.approx((1 - -8) / 2)
