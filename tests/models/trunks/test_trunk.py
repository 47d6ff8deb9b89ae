"""Trunk: the right network, frozen, and the same whatever else is in the batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.features import (
    FeatureSpec,
    FeatureStore,
    FeatureTable,
    encode,
    feature_key,
    resolve_features,
)
from mri_transfer.models.trunks import Trunk, TrunkSpec, load_trunk, trunk_digest
from mri_transfer.models.trunks.vgg16_weights import find_weights
from mri_transfer.scans.slices import SliceStack

SPEC = TrunkSpec(layer="block5_pool")


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return load_trunk(SPEC, precision="fp32", device="cpu")


def _pixels(n: int = 5, size: int = 64, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (n, size, size)).astype(np.uint8))


def _oracle(pixels: torch.Tensor, upto: int) -> torch.Tensor:
    """VGG16 written out from its definition, with the released (BGR) kernels as they are."""
    released = find_weights().tensors
    grey = pixels.float()[:, None]
    mean_bgr = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    x = grey - mean_bgr
    for block, convs in enumerate((2, 2, 3, 3, 3)[:upto], start=1):
        for conv in range(1, convs + 1):
            name = f"block{block}_conv{conv}"
            kernel = torch.from_numpy(released[f"{name}.kernel"].copy())
            bias = torch.from_numpy(released[f"{name}.bias"].copy())
            x = torch.relu(torch.nn.functional.conv2d(x, kernel, bias, padding=1))
        x = torch.nn.functional.max_pool2d(x, 2)
    return x


@pytest.mark.parametrize(("layer", "upto"), [("block5_pool", 5), ("block4_pool", 4)])
def test_maps_are_those_of_the_network_written_out(layer: str, upto: int) -> None:
    network = load_trunk(TrunkSpec(layer=layer), precision="fp32", device="cpu")
    maps = network.forward_slices(_pixels(3))
    torch.testing.assert_close(maps, _oracle(_pixels(3), upto), rtol=1e-3, atol=2e-2)


def test_bf16_agrees_with_fp32_to_its_precision(trunk: Trunk) -> None:
    half = load_trunk(SPEC, precision="bf16", device="cpu")
    full_maps, half_maps = trunk.forward_slices(_pixels()), half.forward_slices(_pixels())
    relative = (full_maps - half_maps).norm() / full_maps.norm()
    assert 0 < relative < 0.03


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 3e-2)])
def test_a_gpu_gives_the_features_of_the_processor(precision, tolerance: float) -> None:
    spec = TrunkSpec(weights="random", layer="block4_pool")
    pixels = torch.randint(0, 256, (40, 64, 64), dtype=torch.uint8)
    expected = load_trunk(spec, precision="fp32", device="cpu").forward_slices(pixels)
    on_gpu = load_trunk(spec, precision=precision, device="cuda")
    maps, again = (on_gpu.forward_slices(pixels).cpu() for _ in range(2))
    assert torch.equal(maps, again)
    assert (maps - expected).abs().max() <= tolerance * expected.abs().max()


def test_a_slice_does_not_depend_on_its_neighbours(trunk: Trunk) -> None:
    pixels = _pixels(8)
    together = trunk.forward_slices(pixels)
    assert torch.equal(together[4:], trunk.forward_slices(pixels[4:]))


def test_passing_slices_changes_no_parameter_and_keeps_no_gradient(trunk: Trunk) -> None:
    before = trunk.digest()
    maps = trunk.forward_slices(_pixels())
    assert not maps.requires_grad
    assert not trunk.network.training
    assert not any(p.requires_grad or p.grad is not None for p in trunk.network.parameters())
    assert trunk.digest() == before


def test_unit_scaling_divides_by_255_without_a_mean() -> None:
    network = load_trunk(
        dataclasses.replace(SPEC, input_scaling="unit"), precision="fp32", device="cpu"
    )
    seen = network.network.to_input(_pixels(1))
    torch.testing.assert_close(seen[0, 1], _pixels(1)[0].float() / 255)
    assert seen.shape[1] == 3


def test_random_weights_are_another_network_with_another_digest(trunk: Trunk) -> None:
    control = load_trunk(TrunkSpec(weights="random"), precision="fp32", device="cpu")
    assert control.weights_source == "random"
    assert control.weights_digest != trunk.weights_digest
    assert trunk_digest(TrunkSpec(weights="random")) == control.weights_digest


def test_an_unknown_trunk_is_refused_with_those_known() -> None:
    with pytest.raises(ValidationError, match=r"no such trunk; there is vgg16.*resnet99"):
        TrunkSpec(name="resnet99")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no CUDA device"):
        load_trunk(SPEC, device="cuda")


@pytest.mark.parametrize("pooling", ["flatten", "average", "max"])
def test_pooling_is_what_its_name_says(trunk: Trunk, pooling: str) -> None:
    stack = SliceStack(scan_id="s", pixels=_pixels(4).numpy(), z_mm=np.arange(4, dtype=np.float32))
    maps = trunk.forward_slices(_pixels(4)).numpy()
    expected = {
        "flatten": maps.reshape(4, -1),
        "average": maps.mean(axis=(2, 3)),
        "max": maps.max(axis=(2, 3)),
    }[pooling]
    found = encode(stack, trunk, FeatureSpec(pooling=pooling)).features
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_every_choice_is_in_the_feature_key() -> None:
    features = resolve_features(FeatureSpec(precision="fp32", device="cpu"))
    base = {"slices": "a", "trunk_spec": TrunkSpec(), "feature_spec": features}
    variants = [
        base,
        {**base, "slices": "b"},
        {**base, "trunk_spec": TrunkSpec(weights="random")},
        {**base, "trunk_spec": TrunkSpec(weights="random", seed=1)},
        {**base, "trunk_spec": TrunkSpec(layer="block5_pool")},
        {**base, "trunk_spec": TrunkSpec(input_scaling="unit")},
        {**base, "feature_spec": dataclasses.replace(features, pooling="flatten")},
        {**base, "feature_spec": dataclasses.replace(features, precision="bf16")},
        {**base, "feature_spec": dataclasses.replace(features, device="cuda")},
    ]
    assert len({feature_key(**variant) for variant in variants}) == len(variants)
    assert feature_key(**{**base, "trunk_spec": TrunkSpec(seed=5)}) == feature_key(**base)
    with pytest.raises(ValueError, match="resolve"):
        feature_key(**{**base, "feature_spec": FeatureSpec()})


def test_stored_features_come_back_in_a_table_by_scan(tmp_path, trunk: Trunk) -> None:
    store = FeatureStore(tmp_path)
    for i in range(3):
        stack = SliceStack(
            scan_id=f"s{i}",
            pixels=_pixels(2, 32, seed=i).numpy(),
            z_mm=np.arange(2, dtype=np.float32),
        )
        store.put(f"key{i}", encode(stack, trunk, FeatureSpec(pooling="max")))
    scans = [store.get(f"key{i}", scan_id=f"s{i}") for i in range(3)]
    table = FeatureTable.collect(scans, ["p0", "p0", "p1"], ["a", "b", "c"])
    assert table.scan_ids == ("s0", "s1", "s2")
    assert table.features.shape == (3, 2, 512)
    assert np.array_equal(table.features[2], scans[2].features)
