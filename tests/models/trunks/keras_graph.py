"""A model of Keras 3 computed from its own description, layer by layer: the slow oracle.

It shares nothing with the trunks: padding, variances and the order of layers are those that the
file states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional

__all__ = ["compute"]

_Maps = dict[str, torch.Tensor]


def compute(
    layers: list[Mapping[str, Any]], weights: Mapping[str, np.ndarray], pictures: torch.Tensor
) -> _Maps:
    """Return the output of every layer.

    Parameters
    ----------
    layers : list of mapping
        As the model's description lists them.
    weights : mapping of str to ndarray
        By ``layer/variable``, with Keras's axes.
    pictures : Tensor, shape (n, 3, height, width)
        What the first layer is given.
    """
    maps: _Maps = {}
    for layer in layers:
        name, kind = layer["config"]["name"], layer["class_name"]
        if kind == "InputLayer":
            maps[name] = pictures
            continue
        given = [maps[source] for source in _sources(layer)]
        own = {
            key.partition("/")[2]: torch.from_numpy(values.copy())
            for key, values in weights.items()
            if key.partition("/")[0] == name
        }
        maps[name] = _LAYERS[kind](layer["config"], own, *given)
    return maps


def _sources(layer: Mapping[str, Any]) -> list[str]:
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            history = value.get("config", {}).get("keras_history")
            found.extend([history[0]] if history else [])
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(layer["inbound_nodes"][0]["args"])
    return found


def _padded(
    maps: torch.Tensor, kernel: int, config: Mapping[str, Any], fill: float
) -> torch.Tensor:
    """Pad as TensorFlow's "same": outputs are inputs over strides, rounded up."""
    if config["padding"] == "valid":
        return maps
    around = []
    for size, stride in zip(maps.shape[:1:-1], config["strides"][::-1], strict=True):
        out = -(-size // stride)
        total = max((out - 1) * stride + kernel - size, 0)
        around += [total // 2, total - total // 2]
    return functional.pad(maps, around, value=fill)


def _convolution(
    config: Mapping[str, Any], kernel: torch.Tensor, maps: torch.Tensor, groups: int = 1
) -> torch.Tensor:
    padded = _padded(maps, kernel.shape[-1], config, 0.0)
    return functional.conv2d(padded, kernel, stride=tuple(config["strides"]), groups=groups)


def _by_channel(config: Any, kernel: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    return _convolution(config, kernel.permute(2, 3, 0, 1), maps, groups=maps.shape[1])


def _conv(config: Any, own: Any, maps: torch.Tensor) -> torch.Tensor:
    return _convolution(config, own["kernel"].permute(3, 2, 0, 1), maps)


def _depthwise(config: Any, own: Any, maps: torch.Tensor) -> torch.Tensor:
    return _by_channel(config, own.get("depthwise_kernel", own.get("kernel")), maps)


def _separable(config: Any, own: Any, maps: torch.Tensor) -> torch.Tensor:
    spread = _by_channel(config, own["depthwise_kernel"], maps)
    return functional.conv2d(spread, own["pointwise_kernel"].permute(3, 2, 0, 1))


def _normalisation(config: Any, own: Any, maps: torch.Tensor) -> torch.Tensor:
    mean, variance, gamma, beta = (
        own[name].view(1, -1, 1, 1) for name in ("moving_mean", "moving_variance", "gamma", "beta")
    )
    return (maps - mean) / torch.sqrt(variance + config["epsilon"]) * gamma + beta


def _pooling(config: Any, own: Any, maps: torch.Tensor) -> torch.Tensor:
    del own
    edge = config["pool_size"][0]
    padded = _padded(maps, edge, config, -float("inf"))
    return functional.max_pool2d(padded, edge, tuple(config["strides"]))


_LAYERS = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "BatchNormalization": _normalisation,
    "MaxPooling2D": _pooling,
    "ReLU": lambda config, _own, maps: maps.clamp(0, config["max_value"]),
    "Activation": lambda _config, _own, maps: torch.relu(maps),
    "Add": lambda _config, _own, *given: sum(given),
    "ZeroPadding2D": lambda config, _own, maps: functional.pad(
        maps, (*config["padding"][1], *config["padding"][0])
    ),
}
