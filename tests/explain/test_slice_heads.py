"""Heads as differentiable functions: they say what the heads say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mri_transfer.errors import HeadError
from mri_transfer.explain.slice_heads import SliceHead, feature_gradients
from mri_transfer.models.heads import Head, apply_head
from mri_transfer.training.fitted_model import FittedModel
from tests.explain.phantom import CHANNELS, KINDS, SLICES, make_harmoniser, make_head, make_table


def _said(one: FittedModel, features: np.ndarray, owner: str) -> np.ndarray:
    head = SliceHead(one, owner, n_slices=SLICES, n_features=CHANNELS)
    return head(torch.from_numpy(features), torch.arange(SLICES)).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_head_says(kind: str) -> None:
    table = make_table()
    one = FittedModel(repeat=0, fold=0, head=make_head(kind))
    for i, owner in enumerate(table.patient_ids):
        wanted = apply_head(one.head, table.features[i : i + 1]).logits[0]
        assert np.allclose(_said(one, table.features[i], owner), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_head_says_after_harmonisation(kind: str) -> None:
    table = make_table()
    plain = FittedModel(repeat=0, fold=0, head=make_head(kind))
    one = dataclasses.replace(plain, harmoniser=make_harmoniser(table))
    for i, owner in enumerate(table.patient_ids):
        wanted = one.slices(table.features[i : i + 1], [owner]).logits[0]
        assert np.allclose(_said(one, table.features[i], owner), wanted, atol=1e-4)
    assert not np.allclose(_said(plain, table.features[1], "p0"), wanted, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_small_steps(kind: str) -> None:
    features = make_table().features[0]
    one = FittedModel(repeat=0, fold=0, head=make_head(kind))
    head = SliceHead(one, "p0", n_slices=SLICES, n_features=CHANNELS)
    found = feature_gradients(head, features)
    step = 1e-6
    for s, c in np.ndindex(SLICES, CHANNELS):
        moved = torch.from_numpy(features).double()
        moved[s, c] += step
        rise = (
            head(moved, torch.arange(SLICES)).sum()
            - head(torch.from_numpy(features), torch.arange(SLICES)).sum()
        )
        assert found[s, c] == pytest.approx(float(rise) / step, abs=1e-5)


def test_an_unknown_head_is_refused() -> None:
    one = FittedModel(repeat=0, fold=0, head=Head(kind="forest", tensors={}))
    with pytest.raises(HeadError, match="unknown kind"):
        SliceHead(one, "p0", n_slices=SLICES, n_features=CHANNELS)
