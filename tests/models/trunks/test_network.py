"""A trunk divided by its cut: the parts are the whole, and what is frozen stays as it was."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mri_transfer.models.heads import AttentionHeadSpec
from mri_transfer.models.model import PatientModel
from mri_transfer.models.trunks import (
    INPUT,
    TRUNKS,
    InputScaling,
    TrunkEntry,
    TrunkNetwork,
    TrunkSpec,
    TrunkWeights,
    load_trunk,
)
from mri_transfer.models.trunks.layers import layer_table, stage_table
from mri_transfer.scans.slices import SliceSpec
from tests.explain.phantom import SLICES, make_head

STAGES = ("stem", "middle", "deep")
SCALING = InputScaling(mean=(127.0,) * 3, deviation=(128.0,) * 3, words="minus 127, over 128")


class _Residual(torch.nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(channels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(maps + self.norm(self.inner(maps)))


def _stages() -> torch.nn.Sequential:
    """Three stages with normalisation and a residual, as deeper trunks have them."""

    def stage(channels_in: int, channels: int, *more: torch.nn.Module) -> torch.nn.Sequential:
        return torch.nn.Sequential(
            torch.nn.Conv2d(channels_in, channels, 3, stride=2, padding=1, bias=False),
            torch.nn.BatchNorm2d(channels),
            torch.nn.ReLU(),
            *more,
        )

    parts = (stage(3, 4), stage(4, 6, _Residual(6)), stage(6, 6))
    return torch.nn.Sequential(OrderedDict(zip(STAGES, parts, strict=True)))


def _filled(seed: int = 0) -> torch.nn.Sequential:
    stages, generator = _stages(), torch.Generator().manual_seed(seed)
    for values in stages.state_dict().values():
        if values.dtype.is_floating_point:
            values.copy_(torch.rand(values.shape, generator=generator) + 0.1)
    return stages


def _pixels(n: int = SLICES, size: int = 16) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (n, size, size)).astype(np.uint8))


def _bytes(module: torch.nn.Module) -> dict[str, bytes]:
    return {name: values.numpy().tobytes() for name, values in module.state_dict().items()}


@pytest.mark.parametrize("cut", [INPUT, *STAGES, None])
def test_prefix_then_tail_is_the_whole_trunk(cut: str | None) -> None:
    whole = TrunkNetwork(_filled(), SCALING).eval()
    divided = TrunkNetwork(_filled(), SCALING, cut=cut).eval()
    stages = [name for part in (divided.prefix, divided.tail) for name, _ in part.named_children()]
    assert stages == list(STAGES)
    with torch.inference_mode():
        kept = divided.prefix(divided.to_input(_pixels()))
        assert torch.equal(divided.tail(kept), whole(_pixels()))
        assert torch.equal(divided(_pixels()), whole(_pixels()))


def test_a_cut_at_no_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="no stage block9 to cut at; there is input, stem"):
        TrunkNetwork(_stages(), SCALING, cut="block9")


@pytest.mark.parametrize("cut", [INPUT, "stem", "middle"])
def test_training_a_tail_leaves_every_frozen_byte_as_it_was(cut: str) -> None:
    trunk = TrunkNetwork(_filled(), SCALING, cut=cut)
    head = make_head("attention")
    model = PatientModel.of_head(head, trunk=trunk).train()
    frozen, tail = _bytes(trunk.prefix), _bytes(trunk.tail)
    assert not trunk.prefix.training
    assert trunk.tail.training
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.1)
    scans = torch.stack([_pixels(), 255 - _pixels()])
    for _ in range(3):
        optimiser.zero_grad()
        score, _ = model(scans)
        torch.nn.functional.binary_cross_entropy(score, torch.tensor([0.0, 1.0])).backward()
        assert all(p.grad is None for p in trunk.prefix.parameters())
        assert all(p.grad is not None for p in trunk.tail.parameters())
        optimiser.step()
    assert _bytes(trunk.prefix) == frozen
    changed = [name for name, values in _bytes(trunk.tail).items() if values != tail[name]]
    assert {name for name, _ in trunk.tail.named_parameters()} <= set(changed)
    assert any(name.endswith("running_mean") for name in changed)


def test_a_tail_can_be_trained_on_what_the_prefix_left_in_a_cache() -> None:
    trunk = TrunkNetwork(_filled(), SCALING, cut="middle")
    with torch.inference_mode():
        cached = trunk.prefix(trunk.to_input(_pixels())).numpy().copy()
    by_cache, by_pixels = copy.deepcopy(trunk), copy.deepcopy(trunk)
    by_cache.tail(torch.from_numpy(cached)).square().mean().backward()
    by_pixels(_pixels()).square().mean().backward()
    for one, other in zip(by_cache.tail.parameters(), by_pixels.tail.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


# ---- the registry -----------------------------------------------------------------------------


def _fill(stages: torch.nn.Sequential, weights: TrunkWeights) -> None:
    stages.to_empty(device="cpu")
    state = {name: torch.from_numpy(weights.tensors[name].copy()) for name in stages.state_dict()}
    stages.load_state_dict(state)


def _random(seed: int) -> TrunkWeights:
    tensors = {name: v.numpy() for name, v in _filled(seed).state_dict().items()}
    return TrunkWeights(tensors=tensors, digest=f"{seed:064x}", source="random", location="seed")


def _architecture() -> torch.nn.Sequential:
    with torch.device("meta"):
        return _stages()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> TrunkEntry:
    """A second trunk, of which nothing but its entry is known."""
    words = dict.fromkeys(("origin", "sources", "drawn", "citation", "notice"), "of a test")
    entry = TrunkEntry(
        title="Small",
        stages=STAGES,
        architecture=_architecture,
        fill=_fill,
        default_stage="middle",
        input_px=16,
        scalings={"minus_one_to_one": SCALING},
        activations_per_pixel=4,
        winograd=False,
        digest="0" * 64,
        known_through="",
        find_weights=lambda *, path, cache, digest: _random(0),
        random_weights=_random,
        **words,
    )
    monkeypatch.setitem(TRUNKS, "small", entry)
    return entry


@pytest.mark.parametrize("name", TRUNKS)
def test_an_entry_names_the_stages_that_its_network_has(name: str) -> None:
    entry = TRUNKS[name]
    network = entry.architecture()
    assert entry.stages == tuple(stage for stage, _ in network.named_children())
    assert entry.default_stage in entry.stages
    assert all(p.device.type == "meta" for p in network.parameters())
    spec = TrunkSpec(name=name, weights="random", layer=entry.stages[-1])
    size_px = entry.input_px or 96  # the autoencoder reads what it was pretrained on
    parts = (*layer_table(spec, size_px), *stage_table(spec, size_px))
    widest = max(one.channels * one.rows * one.columns for one in parts)
    assert entry.activations_per_pixel == math.ceil(widest / size_px**2)


def test_a_trunk_needs_its_entry_alone(small: TrunkEntry) -> None:
    spec = TrunkSpec(name="small", weights="random", seed=3)
    assert (spec.layer, spec.input_scaling) == ("middle", "minus_one_to_one")
    trunk = load_trunk(spec, precision="fp32", device="cpu")
    assert trunk.forward_slices(_pixels()).shape == (SLICES, 6, 4, 4)
    with pytest.raises(ValidationError, match="no such layer of Small; there is stem, middle"):
        TrunkSpec(name="small", layer="block4_pool")
    with pytest.raises(ValidationError, match="no such scaling of the input of Small"):
        TrunkSpec(name="small", input_scaling="unit")


def test_layers_are_read_from_the_network_itself(small: TrunkEntry) -> None:
    layers = layer_table(TrunkSpec(name="small", layer="middle"), 18)
    assert [(one.stage, one.block, one.name, one.kind) for one in layers] == [
        ("stem", 1, "0", "convolution"),
        ("stem", 1, "1", "normalisation"),
        ("middle", 2, "0", "convolution"),
        ("middle", 2, "1", "normalisation"),
        ("middle", 2, "3_inner", "convolution"),
        ("middle", 2, "3_norm", "normalisation"),
    ]
    assert [(one.channels, one.rows, one.parameters) for one in layers] == [
        (4, 9, 3 * 4 * 9), (4, 9, 8), (6, 5, 4 * 6 * 9), (6, 5, 12), (6, 5, 6 * 6 * 9),
        (6, 5, 12),
    ]  # fmt: skip


def test_the_digest_of_a_trunk_holds_the_moments_of_its_normalisation(small: TrunkEntry) -> None:
    trunk = load_trunk(TrunkSpec(name="small", weights="random"), precision="fp32", device="cpu")
    before = trunk.digest()
    assert before == trunk.digest()
    trunk.network.prefix.stem[1].running_var += 1e-3
    assert trunk.digest() != before


def test_the_report_draws_a_trunk_from_its_entry(small: TrunkEntry) -> None:
    from mri_transfer.report.inputs import ReportSettings
    from mri_transfer.report.tables.model_parts import model_parts

    parts = model_parts(
        ReportSettings(
            trunk=TrunkSpec(name="small"),
            slices=SliceSpec(size_px=32),
            heads=AttentionHeadSpec(),
        )
    )
    assert parts.slices == SliceSpec(size_px=32)
    assert parts.n_features == 6
    assert parts.n_frozen == sum(p.numel() for p in _stages()[:2].parameters())
