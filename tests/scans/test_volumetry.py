"""Volumes: hand values of a box, against synthetic brains, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.scans.slices import SliceSpec
from mri_transfer.scans.tissue import TissueSpec, segment_tissues
from mri_transfer.scans.volumes import Volume
from mri_transfer.scans.volumetry import (
    VOLUME_NAMES,
    BrainVolumes,
    VolumesStore,
    measure_volumes,
    volumes_key,
)

SLICES = SliceSpec(n_slices=8, size_px=64)
FLUID, GREY, WHITE = 40.0, 110.0, 150.0


def head(*, ventricle: int = 0, sulcus: int = 0, noise: float = 2.0) -> np.ndarray:
    """Return a box of white matter of 40 x 60 x 16 voxels in a rim of grey matter.

    In the middle of its lower half it may have a cube of fluid, and at its right edge, in front, a
    column of fluid over the whole height.
    """
    voxels = np.zeros((50, 70, 24))
    voxels[5:45, 5:65, 4:20] = GREY
    voxels[9:41, 9:61, 4:20] = WHITE
    half = ventricle // 2
    voxels[25 - half : 25 + half, 35 - half : 35 + half, 4 : 4 + ventricle] = FLUID
    voxels[45 - sulcus : 45, 50 : 50 + sulcus, 4:20] = FLUID
    # Dark enough to be fluid, bright enough to belong to the head.
    voxels[5:45, 5, 4:20] = FLUID
    return voxels + np.where(voxels > 0, noise, 0) * np.random.default_rng(0).standard_normal(
        voxels.shape
    )


def scan(voxels: np.ndarray, spacing_mm: tuple[float, float, float] = (1, 1, 1)) -> Volume:
    return Volume(
        voxels=voxels.astype(np.float32), affine=np.diag([*spacing_mm, 1.0]), scan_id="sub-01"
    )


def measured(voxels: np.ndarray, *, spec: SliceSpec = SLICES, **kwargs) -> BrainVolumes:
    return measure_volumes(scan(voxels, **kwargs), spec, TissueSpec(smoothness=0.0))


def share(volumes: BrainVolumes, name: str) -> float:
    return float(volumes.shares[VOLUME_NAMES.index(name)])


def test_volumes_of_a_box_are_those_that_were_drawn() -> None:
    box = 40 * 60 * 16
    volumes = measured(head(ventricle=8, sulcus=6))
    assert volumes.intracranial_ml == pytest.approx(box / 1000)
    assert share(volumes, "ventricles, lower") == pytest.approx(8**3 / box, rel=0.03)
    assert share(volumes, "ventricles, upper") == pytest.approx(0, abs=2e-4)
    # The column of 6 x 6, and of the edge at the back a row over the whole width.
    for height in ("lower", "upper"):
        assert share(volumes, f"outer fluid, {height} front") == pytest.approx(
            6 * 6 * 8 / box, rel=0.05
        )
        assert share(volumes, f"outer fluid, {height} back") == pytest.approx(
            40 * 8 / box, rel=0.05
        )
        assert share(volumes, f"outer fluid, {height} middle") == pytest.approx(0, abs=5e-4)
    assert volumes.ventricles == pytest.approx(8**3 / box, rel=0.03)
    white = (32 * 52 * 16 - 8**3 - 2 * 6 * 16) / box
    assert volumes.white == pytest.approx(white, rel=0.03)


def test_the_regions_hold_every_voxel_once() -> None:
    voxels = head(ventricle=10, sulcus=4)
    maps = segment_tissues(scan(voxels[:, :, 4:20]), TissueSpec(smoothness=0.0))
    volumes = measured(voxels)
    n_voxels = maps.head.sum()
    assert volumes.fluid == pytest.approx(maps.fluid.sum(dtype=float) / n_voxels, rel=1e-6)
    assert volumes.grey == pytest.approx(maps.grey.sum(dtype=float) / n_voxels, rel=1e-6)
    assert volumes.fluid + volumes.grey + volumes.white == pytest.approx(1)


def test_more_ventricle_is_more_central_fluid_and_nothing_else() -> None:
    small, large = (measured(head(ventricle=width, sulcus=6)) for width in (6, 12))
    assert large.ventricles > 5 * small.ventricles
    outer = [name.startswith("outer fluid") for name in VOLUME_NAMES]
    np.testing.assert_allclose(large.shares[outer], small.shares[outer], atol=5e-4)


def test_neither_voxel_size_nor_place_nor_empty_margins_count() -> None:
    voxels = head(ventricle=8, sulcus=6)
    expected = measured(voxels)
    moved = np.pad(voxels, ((9, 1), (0, 12), (3, 0)))
    np.testing.assert_allclose(measured(moved).shares, expected.shares, atol=1e-9)
    coarse = measured(voxels, spacing_mm=(1.0, 1.0, 2.0))
    np.testing.assert_allclose(coarse.shares, expected.shares, atol=1e-9)
    assert coarse.intracranial_ml == pytest.approx(2 * expected.intracranial_ml)


def test_a_mirrored_head_has_the_same_volumes() -> None:
    voxels = head(ventricle=8, sulcus=6)
    np.testing.assert_allclose(measured(voxels[::-1]).shares, measured(voxels).shares, atol=1e-6)


def test_volumes_are_kept_by_what_shaped_them(tmp_path) -> None:
    volumes, store = measured(head(ventricle=8)), VolumesStore(tmp_path)
    key = volumes_key(volume_key="v", slices=SLICES, tissues=TissueSpec())
    store.put(key, volumes)
    found = store.get(key)
    np.testing.assert_array_equal(found.shares, volumes.shares)
    assert found.intracranial_ml == volumes.intracranial_ml
    others = {
        volumes_key(volume_key="w", slices=SLICES, tissues=TissueSpec()),
        volumes_key(volume_key="v", slices=SliceSpec(n_slices=9), tissues=TissueSpec()),
        volumes_key(volume_key="v", slices=SLICES, tissues=TissueSpec(smoothness=0.5)),
    }
    assert len(others - {key}) == 3
