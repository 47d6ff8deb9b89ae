"""Heads as differentiable functions: they say what the heads say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mri_transfer.errors import HeadError
from mri_transfer.explain.fold_model import feature_gradients, fold_model
from mri_transfer.models.heads import apply_head
from mri_transfer.training.fitted_model import TrainedFold
from tests.explain.phantom import CHANNELS, KINDS, SLICES, make_harmoniser, make_head, make_table


def _said(one: TrainedFold, features: np.ndarray, owner: str) -> np.ndarray:
    with torch.inference_mode():
        given = torch.from_numpy(features).double()
        return fold_model(one, owner).slice_logits(given, torch.arange(SLICES)).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_head_says(kind: str) -> None:
    table = make_table()
    one = TrainedFold(repeat=0, fold=0, head=make_head(kind))
    for i, owner in enumerate(table.patient_ids):
        wanted = apply_head(one.head, table.features[i : i + 1]).logits[0]
        assert np.allclose(_said(one, table.features[i], owner), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_head_says_after_harmonisation(kind: str) -> None:
    table = make_table()
    plain = TrainedFold(repeat=0, fold=0, head=make_head(kind))
    one = dataclasses.replace(plain, harmoniser=make_harmoniser(table))
    for i, owner in enumerate(table.patient_ids):
        wanted = one.slices(table.features[i : i + 1], [owner]).logits[0]
        assert np.allclose(_said(one, table.features[i], owner), wanted, atol=1e-4)
    assert not np.allclose(_said(plain, table.features[1], "p0"), wanted, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_small_steps(kind: str) -> None:
    features = make_table().features[0]
    one = TrainedFold(repeat=0, fold=0, head=make_head(kind))
    model = fold_model(one, "p0")
    found = feature_gradients(model, features)
    step, slices = 1e-6, torch.arange(SLICES)
    for s, c in np.ndindex(SLICES, CHANNELS):
        moved = torch.from_numpy(features).double()
        moved[s, c] += step
        still = torch.from_numpy(features).double()
        rise = model.slice_logits(moved, slices).sum() - model.slice_logits(still, slices).sum()
        assert found[s, c] == pytest.approx(float(rise) / step, abs=1e-5)


def test_an_unknown_head_is_refused() -> None:
    one = TrainedFold(
        repeat=0, fold=0, head=dataclasses.replace(make_head("linear"), kind="forest")
    )
    with pytest.raises(HeadError, match="unknown kind"):
        fold_model(one, "p0")
