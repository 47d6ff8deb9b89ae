"""Rates, thawing and the pull towards the start, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mri_transfer.models.tails.steps import Optimisation
from tests.tails_phantom import fast, stages


def _optimisation(**settings) -> tuple[torch.nn.Sequential, Optimisation]:
    network = stages()
    head = [torch.nn.Parameter(torch.zeros(1))]
    spec = fast(optimiser="sgd", schedule="constant", l2_sp=0.0, **settings)
    return network, Optimisation(network, head, spec, n_steps=10)


def _moved(network: torch.nn.Sequential, before: dict[str, torch.Tensor]) -> dict[str, float]:
    return {
        name: float((values.detach() - before[name]).abs().max())
        for name, values in network.named_parameters()
    }


def _sum(network: torch.nn.Sequential) -> torch.Tensor:
    """A loss whose gradient is 1 everywhere."""
    return torch.stack([p.sum() for p in network.parameters()]).sum()


def test_each_stage_moves_less_than_the_one_after_it() -> None:
    network, optimisation = _optimisation(learning_rate=0.1, layer_decay=0.5)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimisation.begin_epoch(0)
    optimisation.step(_sum(network))
    moved = _moved(network, before)
    for stage, rate in (("deep", 0.1), ("middle", 0.05), ("stem", 0.025)):
        of_stage = [value for name, value in moved.items() if name.startswith(stage)]
        assert of_stage == pytest.approx([rate] * len(of_stage), rel=1e-4)


def test_rates_follow_half_a_cosine() -> None:
    network = stages()
    spec = fast(optimiser="sgd", schedule="cosine", l2_sp=0.0, learning_rate=1.0, layer_decay=1.0)
    optimisation = Optimisation(network, [torch.nn.Parameter(torch.zeros(1))], spec, n_steps=4)
    bias = network.deep[0].bias
    steps, before, velocity = [], bias.detach().clone(), 0.0
    for _ in range(4):
        optimisation.step(_sum(network))
        velocity = 0.9 * velocity + 1.0
        steps.append(float((before - bias.detach())[0]) / velocity)
        before = bias.detach().clone()
    expected = [0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(4)]
    assert steps == pytest.approx(expected, rel=1e-4)


def test_stages_are_thawed_from_the_last_one_back() -> None:
    network, optimisation = _optimisation(unfreeze="by_stage", epochs=6)
    thawed = []
    for epoch in range(6):
        optimisation.begin_epoch(epoch)
        thawed.append(sum(stage[0].weight.requires_grad for stage in network))
    assert thawed == [1, 1, 2, 2, 3, 3]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimisation.begin_epoch(0)
    optimisation.step(_sum(network))
    frozen = [v for name, v in _moved(network, before).items() if not name.startswith("deep")]
    assert not any(frozen)


def test_without_a_loss_weights_fall_back_to_their_start_and_not_to_zero() -> None:
    """Gradient descent on half the squared distance: each step leaves 1 - rate x weight of it."""
    network = stages()
    spec = fast(optimiser="sgd", schedule="constant", l2_sp=0.5, learning_rate=0.2, layer_decay=1.0)
    head = torch.nn.Parameter(torch.zeros(1))
    optimisation = Optimisation(network, [head], spec, n_steps=10)
    weight = network.deep[0].weight
    start = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    optimisation.step(_sum(network) * 0.0)
    torch.testing.assert_close(weight.detach(), start + 0.9)


def test_biases_and_normalisation_do_not_decay() -> None:
    network, optimisation = _optimisation(weight_decay=0.5, learning_rate=0.1, layer_decay=1.0)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimisation.step(_sum(network) * 0.0)
    for name, values in network.named_parameters():
        expected = before[name] * (0.95 if values.ndim > 1 else 1.0)
        torch.testing.assert_close(values.detach(), expected)


def test_distance_is_relative_to_the_start() -> None:
    network, optimisation = _optimisation()
    with torch.no_grad():
        for values in network.deep.parameters():
            values.mul_(1.25)
    assert optimisation.distances() == pytest.approx([0.0, 0.0, 0.25])


def test_rates_fall_when_the_loss_has_stopped_falling() -> None:
    """As torch's ReduceLROnPlateau: after more than `patience` epochs without a lower loss."""
    network, head = stages(), torch.nn.Parameter(torch.zeros(1))
    spec = fast(
        optimiser="sgd", schedule="plateau", plateau_patience=1, plateau_factor=0.5, l2_sp=0.0,
        learning_rate=1.0, layer_decay=0.5,
    )  # fmt: skip
    optimisation = Optimisation(network, [head], spec, n_steps=10)
    of_stem, of_deep = network.stem[0].bias, network.deep[0].bias
    velocity, rates = 0.0, []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.95, 0.95, 0.5):
        before = [of_stem.detach().clone(), of_deep.detach().clone()]
        optimisation.step(_sum(network))
        velocity = 0.9 * velocity + 1.0
        rates.append(
            [
                float((old - new.detach())[0]) / velocity
                for old, new in zip(before, (of_stem, of_deep), strict=True)
            ]
        )
        optimisation.end_epoch(loss)
    expected = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]
    assert [deep for _, deep in rates] == pytest.approx(expected, rel=1e-3)
    assert [stem for stem, _ in rates] == pytest.approx([r / 4 for r in expected], rel=1e-3)


def test_consolidation_pulls_each_weight_by_its_importance() -> None:
    network, head = stages(), torch.nn.Parameter(torch.zeros(1))
    importance = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    importance["deep.0.weight"][0] = 2.0
    spec = fast(
        optimiser="sgd", schedule="constant", l2_sp=0.5, ewc=0.25, learning_rate=0.2,
        layer_decay=1.0,
    )  # fmt: skip
    optimisation = Optimisation(network, [head], spec, n_steps=10, importance=importance)
    weight = network.deep[0].weight
    start = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    optimisation.step(_sum(network) * 0.0)
    # Pulls of 0.5 and 0.5 + 0.25 * 2, times the rate.
    torch.testing.assert_close(weight.detach()[1:], start[1:] + 0.9)
    torch.testing.assert_close(weight.detach()[0], start[0] + 0.8)
