"""Where the largest values lie, against the gradient that torch gives max pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mri_transfer.models.pooling import Maxima, PoolMaps


def _maps(*shape: int, relu: bool = True, digits: int = 1) -> torch.Tensor:
    """Return maps of few different numbers, so that largest values are often shared."""
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(3)).round(decimals=digits)
    maps = torch.relu(maps) if relu else maps - 9
    maps[0, 0] = 0
    # As a trunk returns them: channels last in memory.
    return maps.contiguous(memory_format=torch.channels_last)


def _by_gradient(maps: torch.Tensor) -> np.ndarray:
    own = maps.clone().requires_grad_()
    (share,) = torch.autograd.grad(PoolMaps("max")(own).sum(), own)
    return (own.detach() * share).flatten(2).numpy()


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("size", [(3, 4), (14, 14), (20, 15)])
def test_values_at_their_places_are_gradient_times_activation(
    size: tuple[int, int], relu: bool
) -> None:
    maps = _maps(3, 20, *size, relu=relu)
    maxima = Maxima.of(maps)
    features = PoolMaps("max")(maps).numpy()
    spread = np.stack([maxima.spread(features, s) for s in range(3)])
    assert len(maxima.ties)
    assert np.array_equal(spread, _by_gradient(maps))
    assert np.allclose(spread.sum(2), features, rtol=1e-6)


def test_a_position_takes_one_byte_where_one_is_enough() -> None:
    assert Maxima.of(_maps(2, 5, 14, 14)).first.dtype == np.uint8
    large = Maxima.of(_maps(2, 5, 20, 15))
    assert large.first.dtype == np.uint16
    # Channel 0 of slice 0 is 0 everywhere: it has no place, and its 300 places are no ties.
    assert large.first[0, 0] == 300
    assert not (large.ties[:, :2] == 0).all(axis=1).any()


def test_of_equal_values_the_first_is_named() -> None:
    maps = torch.zeros(1, 1, 2, 3)
    maps[0, 0, 1, 2] = maps[0, 0, 0, 1] = maps[0, 0, 1, 0] = 2.0
    maxima = Maxima.of(maps)
    assert maxima.cells == (2, 3)
    assert maxima.first.tolist() == [[1]]
    assert maxima.ties.tolist() == [[0, 0, 3], [0, 0, 5]]
