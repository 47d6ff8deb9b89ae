"""Files of weights: names and numbers as they are stored, whatever library wrote them."""

from __future__ import annotations

import collections
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import WeightsError

__all__ = ["Tensors", "read_weights_file"]

Tensors = dict[str, npt.NDArray[np.float32]]

#: What Keras 3 stores of a layer, in the order of its numbers.
_KERAS_VARIABLES = {
    "Conv2D": ("kernel", "bias"),
    "DepthwiseConv2D": ("depthwise_kernel", "bias"),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "Dense": ("kernel", "bias"),
}


def read_weights_file(path: Path) -> Tensors:
    """Read all tensors of a file; nothing in it is executed.

    Parameters
    ----------
    path : Path
        `.safetensors`; `.pth`, `.pt` or `.bin` (a state dict of torch, read with
        `weights_only=True`); `.h5` or `.keras` (Keras; needs the package h5py).

    Returns
    -------
    dict of str to ndarray of float32
        Keras's are named by layer and variable, such as ``Conv1/kernel``.

    Raises
    ------
    WeightsError
        If there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise WeightsError("no such weights file", where=str(path))
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise WeightsError(
            "a weights file of unknown kind", where=str(path), expected=", ".join(_READERS)
        )
    try:
        return reader(path)
    except ImportError as error:
        raise WeightsError(
            f"a file of Keras needs the package {error.name}",
            where=str(path),
            remedy="Install it: pip install 'mri-transfer[keras]'",
        ) from error
    except WeightsError:
        raise
    # Whatever a damaged file makes a reader say; each of them raises its own kinds.
    except Exception as error:
        # Of torch's long message the first sentence is what happened, the rest a bad advice.
        said = str(error).partition("\n")[0].partition(". ")[0]
        raise WeightsError("cannot read the weights", where=str(path), found=said) from error


def _read_safetensors(path: Path) -> Tensors:
    from safetensors.torch import load_file

    return _as_arrays(load_file(path))


def _read_torch(path: Path) -> Tensors:
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    # Checkpoints of a training hold the weights beside other things.
    state = state.get("state_dict", state)
    return _as_arrays({name: v for name, v in state.items() if isinstance(v, torch.Tensor)})


def _as_arrays(state: dict[str, Any]) -> Tensors:
    return {
        name: values.float().numpy() for name, values in state.items() if values.is_floating_point()
    }


def _read_h5(path: Path) -> Tensors:
    import h5py

    tensors: Tensors = {}

    def keep(name: str, stored: Any) -> None:
        if isinstance(stored, h5py.Dataset) and not name.startswith("optimizer"):
            layer, variable = name.split("/")[-2:]
            tensors[f"{layer}/{variable.partition(':')[0]}"] = np.asarray(stored, np.float32)

    with h5py.File(path) as file:
        file.visititems(keep)
    return tensors


def _read_keras(path: Path) -> Tensors:
    """Read an archive of Keras 3, whose numbers are stored by class and position of a layer."""
    with zipfile.ZipFile(path) as archive:
        model = json.loads(archive.read("config.json"))
        weights = io.BytesIO(archive.read("model.weights.h5"))
    return _keras_layers(weights, model)


def _keras_layers(weights: IO[bytes], model: dict[str, Any]) -> Tensors:
    import h5py

    tensors: Tensors = {}

    def walk(layers: list[dict[str, Any]], group: Any) -> None:
        seen: collections.Counter[str] = collections.Counter()
        for layer in layers:
            kind = _snake_case(layer["class_name"])
            stored = f"{kind}_{seen[kind]}" if seen[kind] else kind
            seen[kind] += 1
            if "layers" in layer["config"]:
                walk(layer["config"]["layers"], group[stored]["layers"])
                continue
            variables = _KERAS_VARIABLES.get(layer["class_name"], ())
            # A layer without a bias has fewer numbers than names.
            for i, variable in enumerate(variables):
                if stored in group and str(i) in group[stored]["vars"]:
                    values = np.asarray(group[stored]["vars"][str(i)], np.float32)
                    tensors[f"{layer['config']['name']}/{variable}"] = values

    with h5py.File(weights) as file:
        walk(model["config"]["layers"], file["layers"])
    return tensors


def _snake_case(name: str) -> str:
    """Return what Keras makes of a class's name."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


_READERS: dict[str, Callable[[Path], Tensors]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
    ".h5": _read_h5,
    ".keras": _read_keras,
}
