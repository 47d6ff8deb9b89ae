"""Tissues: against brains whose tissues are known, the template's own maps, and flat phantoms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.cohorts.synthetic.anatomy import (
    Contrast,
    Loads,
    draw_deformation,
    draw_picture,
    grow_tissues,
    make_grid,
)
from mri_transfer.cohorts.synthetic.template import load_template as load_synthetic
from mri_transfer.errors import IntensityError
from mri_transfer.scans.preparation.template import array_of_image, load_template
from mri_transfer.scans.tissue import TissueSpec, segment_tissues
from mri_transfer.scans.volumes import Volume

ALONE = TissueSpec(smoothness=0.0)
SIGNALS = np.array([40.0, 110.0, 150.0])


def scan(voxels: np.ndarray) -> Volume:
    return Volume(voxels=voxels.astype(np.float32), affine=np.eye(4), scan_id="sub-01")


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def onion(*, noise: float = 4.0, ventricle: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return a ball of white matter in a shell of grey in a shell of fluid, and what is where.

    In its middle it holds a ventricle of that radius in voxels.
    """
    rng = np.random.default_rng(0)
    x, y, z = np.ogrid[-15:16, -16:17, -14:15]
    radius = np.sqrt(x**2 + y**2 + z**2)
    shells = [radius < ventricle, radius < 8, radius < 11, radius < 13]
    tissue = np.select(shells, [0, 2, 1, 0], default=-1)
    voxels = np.where(tissue >= 0, SIGNALS[tissue], 0.0)
    return np.where(tissue >= 0, voxels + noise * rng.standard_normal(voxels.shape), 0.0), tissue


@pytest.fixture(scope="module")
def brain():
    """A synthetic brain of 3 mm with wide ventricles: its tissues and a noisy picture of it."""
    rng, grid = np.random.default_rng(3), make_grid(3.0)
    tissues = grow_tissues(
        load_synthetic(spacing_mm=3.0),
        draw_deformation(rng, grid, variation=1.0),
        Loads(ventricle=1.0, medial_temporal=0.0, cortex=0.0),
    )
    picture = draw_picture(rng, tissues, grid, contrast=Contrast(), noise=0.07, bias=0.01)
    return tissues, scan(150 * picture)


def test_three_shells_are_found_with_their_signals() -> None:
    voxels, tissue = onion()
    maps = segment_tissues(scan(voxels), TissueSpec())
    np.testing.assert_array_equal(maps.head, tissue >= 0)
    np.testing.assert_allclose(maps.signal, SIGNALS, atol=3.0)
    found = maps.fractions.argmax(axis=0)
    for k in range(3):
        assert dice((found == k) & maps.head, tissue == k) > 0.97


def test_a_voxel_on_a_border_holds_both() -> None:
    voxels, tissue = onion(noise=1.5)
    rim = np.argwhere(tissue == 1)[::40]
    # Half grey matter, half fluid.
    voxels[tuple(rim.T)] = SIGNALS[:2].mean()
    maps = segment_tissues(scan(voxels), ALONE)
    fluid, grey, white = maps.fractions[:, *rim.T]
    np.testing.assert_allclose(fluid, 0.5, atol=0.15)
    np.testing.assert_allclose(grey, 0.5, atol=0.15)
    np.testing.assert_allclose(white, 0.0, atol=1e-3)


def test_fractions_add_up_inside_the_head_and_vanish_outside(brain) -> None:
    maps = segment_tissues(brain[1], TissueSpec())
    assert maps.fractions.dtype == np.float32
    assert maps.fractions.min() >= 0
    np.testing.assert_allclose(maps.fractions.sum(axis=0), maps.head, atol=1e-5)
    total = maps.fluid + maps.grey + maps.white
    np.testing.assert_array_equal(total, maps.fractions.sum(axis=0))
    assert (np.diff(maps.signal) > 0).all()


def test_a_synthetic_brain_is_divided_as_it_was_made(brain) -> None:
    tissues, volume = brain
    truth = np.stack([tissues.fluid, tissues.grey, tissues.white])
    inside = tissues.mask
    found = segment_tissues(volume, TissueSpec())
    error = np.abs(found.fractions - truth)[:, inside].mean(axis=1)
    assert (error < (0.09, 0.16, 0.11)).all()
    np.testing.assert_array_less(0.80, dice(found.white > 0.5, tissues.white > 0.5))


def test_the_field_helps_where_there_is_noise(brain) -> None:
    tissues, volume = brain
    errors = [
        np.abs(segment_tissues(volume, spec).white - tissues.white)[tissues.mask].mean()
        for spec in (ALONE, TissueSpec())
    ]
    assert errors[1] < 0.9 * errors[0]


def test_more_fluid_planted_is_more_fluid_found() -> None:
    for radius in (0.0, 3.0, 5.0):
        voxels, tissue = onion(ventricle=radius)
        maps = segment_tissues(scan(voxels), TissueSpec())
        planted = (tissue == 0).sum()
        assert maps.fluid.sum() == pytest.approx(planted, rel=0.05)


def test_the_template_is_divided_as_its_own_maps_say() -> None:
    template = load_template()
    slab = slice(70, 94)
    grey, white, t1 = (
        array_of_image(image)[:, :, slab] for image in (template.grey, template.white, template.t1)
    )
    inside = array_of_image(template.mask)[:, :, slab] > 0
    maps = segment_tissues(scan(np.where(inside, t1, 0.0)), TissueSpec())
    assert dice(maps.white > 0.5, (white > 0.5) & inside) > 0.9
    assert dice(maps.grey > 0.5, (grey > 0.5) & inside) > 0.8
    assert np.corrcoef(maps.grey[inside], grey[inside])[0, 1] > 0.8


@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_the_unit_of_the_signal_is_without_effect(scale: float) -> None:
    voxels, _ = onion()
    maps = segment_tissues(scan(voxels), TissueSpec())
    rescaled = segment_tissues(scan(scale * voxels), TissueSpec())
    np.testing.assert_allclose(rescaled.fractions, maps.fractions, atol=0.02)
    np.testing.assert_allclose(rescaled.signal, scale * maps.signal, rtol=1e-2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_scan_has_mirrored_tissues(axis: int) -> None:
    voxels, _ = onion()
    maps = segment_tissues(scan(voxels), TissueSpec())
    mirrored = segment_tissues(scan(np.flip(voxels, axis)), TissueSpec())
    np.testing.assert_allclose(
        mirrored.fractions, np.flip(maps.fractions, axis + 1), rtol=0, atol=1e-4
    )


def test_a_dark_speck_in_white_matter_is_rather_grey_than_fluid() -> None:
    voxels, _ = onion(noise=15.0)
    voxels[15, 16, 14] = 65.0  # nearer to fluid than to grey matter
    alone = segment_tissues(scan(voxels), ALONE).fractions[:, 15, 16, 14]
    beside = segment_tissues(scan(voxels), TissueSpec(smoothness=3.0)).fractions[:, 15, 16, 14]
    assert alone[0] > 0.5 > beside[0]


def test_two_passes_give_the_same_bytes(brain) -> None:
    first, second = (segment_tissues(brain[1], TissueSpec()) for _ in range(2))
    for field in dataclasses.fields(first):
        assert getattr(first, field.name).tobytes() == getattr(second, field.name).tobytes()


def test_two_grey_values_are_refused() -> None:
    voxels = np.zeros((8, 9, 10))
    voxels[2:6, 2:6, 2:6] = 100.0
    voxels[3, 3, 3] = 90.0
    with pytest.raises(IntensityError, match="three tissues cannot be told apart") as caught:
        segment_tissues(scan(voxels), TissueSpec())
    assert "sub-01" in str(caught.value)
