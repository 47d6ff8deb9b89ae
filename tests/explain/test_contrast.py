"""Contrast maps: by a slow oracle, against whom, and what they find that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mri_transfer.explain.attribution import Activations
from mri_transfer.explain.contrast import (
    SMOOTHING_MM,
    Cams,
    CamStore,
    cams_key,
    contrast_maps,
    reference_scans,
    scan_cams,
)
from mri_transfer.explain.fold_model import feature_gradients, fold_model
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.scans.slices import SliceSpec
from tests.explain.phantom import CHANNELS, SLICES, make_folds, make_trained
from tests.phantoms import ras_affine

SHAPE = (SLICES, 8, 8)
PLACE = (2, 4, 5)


def _geometry() -> SliceGeometry:
    # 20 mm between slices, and cells of 20 mm.
    return SliceGeometry.of(
        (160, 160, 100), ras_affine((1.0, 1.0, 1.0)), np.arange(10.0, 100, 20),
        SliceSpec(n_slices=SLICES, size_px=160),
    )  # fmt: skip


def _cams(n: int = 8) -> dict[int, Cams]:
    rng = np.random.default_rng(0)
    cams = {}
    for i in range(n):
        own, randomised = rng.normal(size=(2, 4, *SHAPE)).astype(np.float32)
        cams[i] = Cams(own=own, randomised=randomised)
    # What patient 0 shows at one place, to every head.
    cams[0].own[(slice(None), *PLACE)] += 20.0
    return cams


#: Two repeats of two folds; patients 1, 3, 5, 7 are healthy.
OWN = {f"p{i}": [i % 4 // 2, 2 + (i // 4)] for i in range(8)}
NAMES = tuple(OWN)


def _maps(cams: dict[int, Cams], shown=(0,), healthy=(1, 3, 5, 7), inside=None):
    inside = np.ones((8, *SHAPE), dtype=np.float32) if inside is None else inside
    return contrast_maps(
        cams, shown, healthy, patient_ids=NAMES, own=OWN, inside=inside,
        geometries=[_geometry()] * 8,
    )  # fmt: skip


def test_a_contrast_map_is_that_of_a_slow_oracle() -> None:
    cams = _cams()
    found = _maps(cams)
    assert found is not None
    sigma = SMOOTHING_MM / 20
    grid = np.stack(np.indices(SHAPE)).reshape(3, -1).T
    # A Gaussian whose weight outside of the slices is left out.
    near = np.abs(grid[:, None] - grid[None]).astype(float)
    cut = int(4 * sigma + 0.5)
    weights = np.exp(-(near**2).sum(-1) / (2 * sigma**2)) * (near <= cut).all(-1)
    weights /= weights.sum(1, keepdims=True)
    means, squares = [], []
    for head in OWN["p0"]:
        trained = [h for h in (1, 3, 5, 7) if head not in OWN[f"p{h}"]]
        assert 2 <= len(trained) < 4
        usual = np.mean([cams[h].own[head] for h in trained], axis=0)
        means.append(weights @ (cams[0].own[head] - usual).ravel())
        squares.append(np.mean([(weights @ (cams[h].own[head] - usual).ravel()) ** 2
                                for h in trained], axis=0))  # fmt: skip
    spread = np.sqrt(np.mean(squares, axis=0))
    wanted = np.mean(means, axis=0) / (spread + 0.1 * spread.mean())
    assert np.allclose(found.maps[0].ravel(), wanted, rtol=1e-3, atol=1e-3)
    assert (found.maps[0] > found.maps[0][PLACE]).mean() < 0.1


def test_what_lies_outside_the_head_has_no_say_and_no_value() -> None:
    cams, inside = _cams(), np.ones((8, *SHAPE), dtype=np.float32)
    inside[:, :, :, 6:] = 0
    quiet = _maps(cams, inside=inside)
    for one in cams.values():
        one.own[..., 6:] += 1000.0 * np.random.default_rng(1).normal(size=one.own[..., 6:].shape)
    loud = _maps(cams, inside=inside)
    assert quiet is not None
    assert loud is not None
    assert np.allclose(quiet.maps, loud.maps)
    assert not loud.maps[..., 6:].any()


def test_a_patient_is_never_in_the_own_reference_and_two_are_needed() -> None:
    cams = _cams()
    one = _maps(cams, shown=(1,))
    changed = {**cams, 1: Cams(own=cams[1].own + 5, randomised=cams[1].randomised)}
    other = _maps(changed, shown=(1,))
    assert one is not None
    assert other is not None
    # Only the map moves, by the same amount everywhere before the spread divides it.
    ratio = 5 / (other.maps - one.maps)
    assert np.isfinite(ratio).all()
    assert (ratio > 0).all()
    assert _maps(cams, healthy=(1,)) is None


def test_the_reference_is_of_healthy_patients_drawn_by_the_seed() -> None:
    folds = make_folds()
    owners = ["p0", "p1", "p1", "p2", "p3", "p4", "p5", "p6", "p7"]
    everybody = reference_scans(owners, folds, positive="AD", n=20, seed=0)
    assert [owners[i] for i in everybody] == ["p1", "p3", "p5", "p7"]
    assert everybody[0] == 1
    few = [reference_scans(owners, folds, positive="AD", n=2, seed=s) for s in range(6)]
    assert all(len(one) == 2 for one in few)
    assert len({tuple(one) for one in few}) > 1


def test_grad_cam_is_the_mean_gradient_times_the_map_and_comes_back(tmp_path: Path) -> None:
    trained = make_trained()
    maps = torch.rand(SLICES, CHANNELS, 4, 4, generator=torch.Generator().manual_seed(0))
    activations = Activations.of_maps(maps, ["max"])
    cams = scan_cams([activations] * len(trained), trained, patient_id="p")
    assert cams.own.shape == (len(trained), SLICES, 4, 4)
    features = PoolMaps("max")(maps).numpy()
    for h, model in enumerate(trained):
        weights = model.on_features.slices(features[None], ["p"]).weights[0]
        gradient = feature_gradients(fold_model(model, "p"), features) * weights[:, None]
        wanted = np.einsum("sc,scij->sij", gradient, maps.numpy()) / 16
        assert np.allclose(cams.own[h], wanted, atol=1e-5)
        assert not np.allclose(cams.randomised[h], wanted, atol=1e-2)
    store, key = CamStore(tmp_path), cams_key(maps_key="m")
    store.put(key, cams)
    assert np.array_equal(store.get(key).own, cams.own)
    assert key != cams_key(maps_key="n")
