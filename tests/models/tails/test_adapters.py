"""What is trained: the network starts as it was, and only the method's parameters move."""

from __future__ import annotations

import copy

import pytest
import torch

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.tails.adapters import adapt, count_trained, merge
from mri_transfer.models.tails.spec import TuningSpec
from tests.tails_phantom import stages

METHODS = ("full", "ssf", "norm", "lora", "parallel")


def _maps() -> torch.Tensor:
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", METHODS)
def test_the_start_is_the_network_as_it_was(method: str) -> None:
    plain = stages().eval()
    changed = copy.deepcopy(plain)
    adapt(changed, TuningSpec(strategy="some", method=method), seed=4)
    with torch.no_grad():
        torch.testing.assert_close(changed(_maps()), plain(_maps()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # Kernels and biases of three convolutions, and two vectors for each normalisation.
        ("full", (4 * 27 + 4) + (6 * 36 + 6) + (8 * 54 + 8) + 2 * (4 + 6 + 8)),
        ("ssf", 2 * (4 + 6 + 8)),
        ("norm", 2 * (4 + 6 + 8)),
        ("lora", 2 * ((4 + 27) + (6 + 36) + (8 + 54))),
        ("parallel", 2 * ((4 + 3) + (6 + 4) + (8 + 6))),
    ],
)
def test_so_many_parameters_are_trained(method: str, expected: int) -> None:
    spec, network = TuningSpec(strategy="some", method=method, rank=2), stages()
    assert count_trained(network, spec) == expected
    adapt(network, spec)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == expected


def test_an_update_has_no_more_than_its_rank() -> None:
    network = stages()
    before = network.deep[0].weight.detach().clone()
    adapt(network, TuningSpec(strategy="some", method="lora", rank=2))
    update = network.deep[0].parametrizations.weight[0]
    with torch.no_grad():
        update.up.copy_(torch.randn(update.up.shape))
        moved = (network.deep[0].weight - before).flatten(1)
    assert torch.linalg.matrix_rank(moved) == 2


def test_a_parallel_adapter_is_a_convolution_of_one_pixel_beside_the_kernel() -> None:
    network = stages()
    plain = copy.deepcopy(network.stem[0])
    adapt(network, TuningSpec(strategy="some", method="parallel", rank=2))
    update = network.stem[0].parametrizations.weight[0]
    with torch.no_grad():
        update.up.copy_(torch.randn(update.up.shape))
        beside = torch.nn.functional.conv2d(_maps(), (update.up @ update.down)[:, :, None, None])
        torch.testing.assert_close(network.stem[0](_maps()), plain(_maps()) + beside)


def test_a_scale_and_a_shift_act_on_each_channel_of_a_convolution() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1))
    expected = network(_maps()) * torch.tensor([2.0, 3.0])[:, None, None] - 1
    adapt(network, TuningSpec(strategy="some", method="ssf"))
    with torch.no_grad():
        network[0].scale_shift.scale.copy_(torch.tensor([2.0, 3.0]))
        network[0].scale_shift.shift.fill_(-1.0)
        torch.testing.assert_close(network(_maps()), expected)


def test_normalisation_cannot_be_trained_where_there_is_none() -> None:
    with pytest.raises(ConfigurationError, match="no layer that this method trains"):
        adapt(stages(normalised=False), TuningSpec(strategy="some", method="norm"))


@pytest.mark.parametrize("method", METHODS)
def test_merged_layers_are_plain_and_compute_the_same(method) -> None:
    """Adapters moved off their start, biases off zero."""
    network = stages()
    adapt(network, TuningSpec(strategy="some", method=method), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    network.eval()
    pixels = torch.randn((2, 3, 12, 12), generator=generator)
    with torch.inference_mode():
        expected = network(pixels)
    merge(network)
    with torch.inference_mode():
        torch.testing.assert_close(network(pixels), expected, rtol=1e-4, atol=1e-5)
    assert set(network.state_dict()) == set(stages().state_dict())
