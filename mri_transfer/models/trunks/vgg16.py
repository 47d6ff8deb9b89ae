"""VGG16's convolutional trunk (Simonyan and Zisserman 2014), from torchvision's architecture."""

from __future__ import annotations

import torch

from mri_transfer.models.trunks.weights import TrunkWeights, conv_names

__all__ = ["build_vgg16"]


def build_vgg16(weights: TrunkWeights, layer: str) -> torch.nn.Sequential:
    """Build the trunk up to a pooling layer and fill in the weights.

    Parameters
    ----------
    weights : TrunkWeights
        As released: the first kernels expect blue, green, red.
    layer : str
        `block{b}_pool`, the last layer kept.

    Returns
    -------
    torch.nn.Sequential
        Red, green, blue in; feature maps of `layer` out.
    """
    from torchvision.models import vgg16

    # On the meta device nothing is drawn for the weights that are filled in below, nor for
    # torchvision's classifier, which is not used.
    with torch.device("meta"):
        features = vgg16(weights=None, init_weights=False).features
    assert isinstance(features, torch.nn.Sequential)
    names = iter(conv_names())
    kept: list[torch.nn.Module] = []
    block = 0
    for module in features:
        kept.append(module)
        if isinstance(module, torch.nn.Conv2d):
            name = next(names)
            kernel = torch.from_numpy(weights.tensors[f"{name}.kernel"].copy())
            # The input is RGB, so the first kernels' channels turn round.
            module.weight = torch.nn.Parameter(kernel.flip(1) if name == "block1_conv1" else kernel)
            module.bias = torch.nn.Parameter(
                torch.from_numpy(weights.tensors[f"{name}.bias"].copy())
            )
        elif isinstance(module, torch.nn.MaxPool2d):
            block += 1
            if layer == f"block{block}_pool":
                return torch.nn.Sequential(*kept)
    raise ValueError(f"VGG16 has no layer {layer}")
