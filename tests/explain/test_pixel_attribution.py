"""Integrated gradients where they are known in closed form, and occlusion by a slow oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mri_transfer.explain.attribution import map_of_head
from mri_transfer.explain.mean_log_odds import PixelTrunks, input_network
from mri_transfer.explain.pixel_attribution import (
    PixelAttributionStore,
    attribute_pixels,
    chosen_slices,
)
from mri_transfer.explain.spec import ExplanationSpec
from mri_transfer.models.heads import apply_head
from mri_transfer.models.pooling import PoolMaps
from tests.explain.phantom import SLICES, TinyTrunk, make_stack, make_trained

SPEC = ExplanationSpec(close_slices=2, gradient_steps=8, patch_cells=2)
WEIGHTS = np.full((2, SLICES), 0.25, dtype=np.float32)


def _view(trunk, *, pooling="max", spec=SPEC):
    own = make_trained(n_folds=1, pooling=pooling)
    stack = make_stack()
    raw = map_of_head(stack, trunk, own[0], patient_id="p", weights=WEIGHTS[0])
    trunks = [PixelTrunks.of(trunk, TinyTrunk(seed=5))] * len(own)
    return (
        own,
        stack,
        attribute_pixels(stack, trunks, own, patient_id="p", weights=WEIGHTS, raw=raw, spec=spec),
    )


def test_gradients_of_a_linear_model_leave_nothing_unexplained() -> None:
    _, _, view = _view(TinyTrunk(relu=False), pooling="average")
    assert np.abs(view.missing).max() < 1e-5
    assert np.allclose(view.gradients.sum((1, 2)), view.change, atol=1e-5)
    assert np.abs(view.gradients).sum() > 1e3 * np.abs(view.missing).max()


def test_what_a_bent_model_leaves_unexplained_shrinks_with_more_steps() -> None:
    few = _view(TinyTrunk(), spec=ExplanationSpec(close_slices=4, gradient_steps=2))[2]
    many = _view(TinyTrunk(), spec=ExplanationSpec(close_slices=4, gradient_steps=64))[2]
    assert np.abs(many.missing).sum() < np.abs(few.missing).sum()
    assert np.abs(many.missing).sum() < 0.05 * np.abs(many.change).sum()


def test_nothing_is_attributed_where_slice_and_baseline_are_the_same() -> None:
    _, stack, view = _view(TinyTrunk())
    assert not view.gradients[:, stack.pixels[0] == 0].any()


def test_the_trunk_itself_is_left_as_it_was() -> None:
    trunk = TinyTrunk()
    assert not input_network(trunk).prefix.only[1].inplace
    assert trunk.network.prefix.only[1].inplace


def test_occlusion_is_what_the_model_says_of_a_covered_slice() -> None:
    trunk = TinyTrunk()
    own, stack, view = _view(trunk)
    grey = np.rint(stack.pixels[stack.pixels > 0].mean())
    assert view.occlusion.shape == (2, 2, 2)

    def said(pixels: np.ndarray, s: int) -> float:
        features = PoolMaps("max")(trunk.forward_slices(torch.from_numpy(pixels))).numpy()
        return np.mean([0.25 * apply_head(one.head, features[None]).logits[0, s] for one in own])

    for n, s in enumerate(view.slices):
        for i, j in np.ndindex(2, 2):
            covered = stack.pixels.copy()
            part = covered[s, 16 * i : 16 * i + 16, 16 * j : 16 * j + 16]
            part[part > 0] = grey
            wanted = said(stack.pixels, s) - said(covered, s)
            assert view.occlusion[n, i, j] == pytest.approx(wanted, abs=1e-5)


def test_with_tails_each_head_has_pixels_of_its_own_trunk() -> None:
    """The parts of two heads on two trunks add up to their mean, by gradients and by occlusion."""
    own, stack = make_trained(n_folds=1, pooling="average"), make_stack()
    trunks = [PixelTrunks.of(TinyTrunk(relu=False, seed=i), TinyTrunk(seed=5)) for i in (0, 1)]
    raw = np.zeros((SLICES, 4, 4), dtype=np.float32)

    def view(heads: slice):
        return attribute_pixels(
            stack, trunks[heads], own[heads], patient_id="p", weights=WEIGHTS[heads], raw=raw,
            spec=SPEC,
        )  # fmt: skip

    both, first, second = view(slice(0, 2)), view(slice(0, 1)), view(slice(1, 2))
    for name in ("gradients", "change", "occlusion"):
        mean = (getattr(first, name) + getattr(second, name)) / 2
        np.testing.assert_allclose(getattr(both, name), mean, atol=1e-6)
    np.testing.assert_allclose(both.gradients.sum((1, 2)), both.change, atol=1e-5)
    np.testing.assert_array_equal(both.gradcam, first.gradcam)
    assert np.abs(first.change - second.change).max() > 1e-3


def test_a_random_trunk_gives_another_map() -> None:
    _, _, view = _view(TinyTrunk())
    assert view.random_trunk.shape == view.raw.shape
    assert not np.allclose(view.random_trunk, view.raw, atol=1e-3)


def test_a_stored_view_comes_back_as_it_was(tmp_path) -> None:
    _, _, view = _view(TinyTrunk())
    store = PixelAttributionStore(tmp_path)
    store.put("ab" * 32, view)
    again = store.get("ab" * 32)
    assert np.array_equal(again.gradients, view.gradients)
    assert np.array_equal(again.occlusion, view.occlusion)


def test_slices_are_the_middles_of_equal_parts() -> None:
    assert chosen_slices(32, 4).tolist() == [4, 12, 20, 28]
    assert chosen_slices(3, 8).tolist() == [0, 1, 2]
