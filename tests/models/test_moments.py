"""Moments of unlabelled scans: nothing else of a trunk changes, nothing else of scans enters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.moments import AdaptedTrunk, adapt_moments
from mri_transfer.models.tails.adapters import moment_layers
from mri_transfer.models.trunks import Trunk, TrunkSpec, load_trunk

EDGE_PX = 33


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    spec = TrunkSpec(name="autoencoder", weights="random", layer="encode2")
    return load_trunk(spec, precision="fp32", device="cpu")


def _scans(n: int, *, seed: int = 0, brightest: int = 255) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, brightest + 1, (3, EDGE_PX, EDGE_PX)).astype(np.uint8) for _ in range(n)
    ]


def _state(network: torch.nn.Module) -> dict[str, bytes]:
    return {
        name: values.contiguous().numpy().tobytes() for name, values in network.state_dict().items()
    }


def _moments(adapted: AdaptedTrunk) -> list[torch.Tensor]:
    return [
        values
        for layer in moment_layers(adapted.network)
        for values in (layer.running_mean, layer.running_var)
    ]


def test_of_the_first_layer_they_are_mean_and_variance_of_its_maps(trunk: Trunk) -> None:
    """Closed form: the mean over the scans of what the first convolution makes of each."""
    scans = _scans(3)
    adapted = adapt_moments(trunk, scans)
    first = trunk.network.prefix[0][0]
    with torch.no_grad():
        maps = [first(trunk.network.to_input(torch.from_numpy(scan))) for scan in scans]
    layer = next(moment_layers(adapted.network))
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variance = torch.stack([m.var((0, 2, 3), unbiased=True) for m in maps]).mean(0)
    torch.testing.assert_close(layer.running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.running_var, variance, rtol=1e-4, atol=1e-5)


def test_nothing_but_the_moments_changes(trunk: Trunk) -> None:
    before = _state(trunk.network)
    adapted = adapt_moments(trunk, _scans(3))
    assert _state(trunk.network) == before
    changed = {name for name, values in _state(adapted.network).items() if values != before[name]}
    kinds = {name.rpartition(".")[2] for name in changed}
    assert kinds == {"running_mean", "running_var", "num_batches_tracked"}
    assert len(changed) == 3 * 4
    assert not any(p.requires_grad for p in adapted.network.parameters())
    assert not any(module.training for module in adapted.network.modules())


def test_of_other_scans_nothing_but_their_moments_reaches_a_scan(trunk: Trunk) -> None:
    """A network that is given the moments alone makes the same of a scan, to the last byte."""
    scans = _scans(4)
    adapted = adapt_moments(trunk, scans)
    given = load_trunk(trunk.spec, precision="fp32", device="cpu").network
    for layer, known in zip(moment_layers(given), moment_layers(adapted.network), strict=True):
        layer.load_state_dict(known.state_dict())
    alone = AdaptedTrunk(network=given.eval())
    pixels = torch.from_numpy(scans[2])
    assert torch.equal(alone.forward_slices(pixels), adapted.forward_slices(pixels))
    # Asking for a scan does not move them either.
    again = adapted.forward_slices(pixels)
    assert torch.equal(again, adapted.forward_slices(pixels))


def test_every_scan_counts_the_same_in_whatever_order(trunk: Trunk) -> None:
    scans = _scans(4)
    one, other = (_moments(adapt_moments(trunk, order)) for order in (scans, scans[::-1]))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    again = _moments(adapt_moments(trunk, scans))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))


def test_a_scanner_of_half_the_contrast_is_undone(trunk: Trunk) -> None:
    """The purpose: maps of scans at half the brightness are those of the scans as they were."""
    scans = _scans(4)
    dim = [(scan // 2).astype(np.uint8) for scan in scans]
    bright, dimmed = adapt_moments(trunk, scans), adapt_moments(trunk, dim)
    whole, half = torch.from_numpy(scans[0]), torch.from_numpy(dim[0])
    expected = bright.forward_slices(whole)
    apart = float((dimmed.forward_slices(half) - expected).abs().mean())
    unadapted = float((bright.forward_slices(half) - expected).abs().mean())
    assert apart < 0.1 * unadapted


def test_a_trunk_without_batch_normalisation_is_refused() -> None:
    spec = TrunkSpec(weights="random", layer="block1_pool")
    plain = load_trunk(spec, precision="fp32", device="cpu")
    with pytest.raises(ConfigurationError, match=r"VGG16 has no batch normalisation"):
        adapt_moments(plain, _scans(1))


def test_without_a_scan_there_are_no_moments(trunk: Trunk) -> None:
    with pytest.raises(ConfigurationError, match="no scan"):
        adapt_moments(trunk, [])
