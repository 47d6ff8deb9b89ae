"""Trunks whose weights come from a hub or from a file of the user; no package carries them."""

from __future__ import annotations

from collections.abc import Mapping

from mri_transfer.models.trunks.entry import TrunkEntry
from mri_transfer.models.trunks.library import HALF, IMAGENET, LibraryTrunk

__all__ = ["CONVNETS"]

_IMAGENET = {"imagenet": IMAGENET}
_HALF = {"half": HALF}
_APACHE, _BSD = "Apache-2.0", "BSD-3-Clause"


def _features(first: int, last: int) -> tuple[str, ...]:
    """Return the names of the modules of a Sequential called `features`."""
    return tuple(f"features.{i}" for i in range(first, last + 1))


def _vgg(title: str, model: str, ends: tuple[int, ...]) -> LibraryTrunk:
    """Describe a network of Simonyan and Zisserman by the modules that end its blocks."""
    starts = (0, *(end + 1 for end in ends))
    return LibraryTrunk(
        title=title,
        library="timm",
        model=f"{model}.tv_in1k",
        stages={
            f"block{i}_pool": _features(first, last)
            for i, (first, last) in enumerate(zip(starts, ends, strict=False), start=1)
        },
        default_stage="block4_pool",
        input_px=224,
        scalings=_IMAGENET,
        activations_per_pixel=64,
        # Where the first convolution is pooled at once, the pass has no way for it.
        winograd=ends[0] > 2,
        paper="Simonyan and Zisserman 2014, arXiv:1409.1556",
        licence=_BSD,
        authors="the authors of torchvision",
    )


def _resnet(title: str, model: str, authors: str) -> LibraryTrunk:
    layers = ("layer1", "layer2", "layer3", "layer4")
    return LibraryTrunk(
        title=title,
        library="timm",
        model=model,
        stages={
            "stem": ("conv1", "bn1", "act1", "maxpool"),
            **{layer: (layer,) for layer in layers},
        },
        default_stage="layer3",
        input_px=224,
        scalings=_IMAGENET,
        activations_per_pixel=16,
        paper="He et al. 2016, arXiv:1512.03385",
        licence=_APACHE,
        authors=authors,
    )


_TIMM = "the authors of timm"

_ALEXNET = LibraryTrunk(
    title="AlexNet",
    library="torchvision",
    model="alexnet",
    stages={"pool1": _features(0, 2), "pool2": _features(3, 5), "pool5": _features(6, 12)},
    # Its maps are never a sixteenth of the picture; behind pool2 they are an eighth.
    default_stage="pool2",
    input_px=224,
    scalings=_IMAGENET,
    activations_per_pixel=4,
    paper="Krizhevsky 2014, arXiv:1404.5997",
    licence=_BSD,
    authors="the authors of torchvision",
)

_GOOGLENET = LibraryTrunk(
    title="GoogLeNet",
    library="torchvision",
    model="googlenet",
    options={"aux_logits": False, "init_weights": False},
    stages={
        "pool1": ("conv1", "maxpool1"),
        "pool2": ("conv2", "conv3", "maxpool2"),
        "inception3": ("inception3a", "inception3b"),
        "inception4": ("maxpool3", *(f"inception4{letter}" for letter in "abcde")),
        "inception5": ("maxpool4", "inception5a", "inception5b"),
    },
    default_stage="inception4",
    input_px=224,
    scalings=_HALF,
    activations_per_pixel=16,
    paper="Szegedy et al. 2015, arXiv:1409.4842",
    licence=_BSD,
    authors="the authors of torchvision",
)

_INCEPTION_V3 = LibraryTrunk(
    title="Inception V3",
    library="timm",
    model="inception_v3.tv_in1k",
    options={"aux_logits": False},
    stages={
        "pool1": ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Pool1"),
        "pool2": ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "Pool2"),
        "mixed5": ("Mixed_5b", "Mixed_5c", "Mixed_5d"),
        "mixed6": ("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
        "mixed7": ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
    },
    default_stage="mixed6",
    input_px=299,
    scalings=_HALF,
    activations_per_pixel=16,
    paper="Szegedy et al. 2016, arXiv:1512.00567",
    licence=_APACHE,
    authors="the authors of torchvision",
)

_INCEPTION_V4 = LibraryTrunk(
    title="Inception V4",
    library="timm",
    model="inception_v4.tf_in1k",
    stages={
        "stem": _features(0, 5),
        "inception_a": _features(6, 9),
        "inception_b": _features(10, 17),
        "inception_c": _features(18, 21),
    },
    default_stage="inception_b",
    input_px=299,
    scalings=_HALF,
    activations_per_pixel=16,
    paper="Szegedy et al. 2017, arXiv:1602.07261",
    licence=_APACHE,
    authors="the authors of TensorFlow",
)

_DENSENET = LibraryTrunk(
    title="DenseNet-121",
    library="timm",
    model="densenet121.ra_in1k",
    stages={
        "stem": ("features.conv0", "features.norm0", "features.pool0"),
        "denseblock1": ("features.denseblock1",),
        "denseblock2": ("features.transition1", "features.denseblock2"),
        "denseblock3": ("features.transition2", "features.denseblock3"),
        "denseblock4": ("features.transition3", "features.denseblock4", "features.norm5"),
    },
    default_stage="denseblock3",
    input_px=224,
    scalings=_IMAGENET,
    activations_per_pixel=16,
    paper="Huang et al. 2017, arXiv:1608.06993",
    licence=_APACHE,
    authors=_TIMM,
)

_CONVNEXT = LibraryTrunk(
    title="ConvNeXt-Tiny",
    library="timm",
    model="convnext_tiny.in12k_ft_in1k",
    stages={
        "stage1": ("stem", "stages.0"),
        "stage2": ("stages.1",),
        "stage3": ("stages.2",),
        "stage4": ("stages.3",),
    },
    default_stage="stage3",
    input_px=224,
    scalings=_IMAGENET,
    activations_per_pixel=24,
    paper="Liu et al. 2022, arXiv:2201.03545",
    licence=_APACHE,
    authors=_TIMM,
)

CONVNETS: Mapping[str, TrunkEntry] = {
    "vgg11": _vgg("VGG11", "vgg11", (2, 5, 10, 15, 20)).entry(),
    "vgg19": _vgg("VGG19", "vgg19", (4, 9, 18, 27, 36)).entry(),
    "alexnet": _ALEXNET.entry(),
    "googlenet": _GOOGLENET.entry(),
    "resnet18": _resnet("ResNet-18", "resnet18.a1_in1k", _TIMM).entry(),
    "resnet50": _resnet("ResNet-50", "resnet50.a1_in1k", _TIMM).entry(),
    "resnet152": _resnet("ResNet-152", "resnet152.a1h_in1k", _TIMM).entry(),
    "inception_v3": _INCEPTION_V3.entry(),
    "inception_v4": _INCEPTION_V4.entry(),
    "densenet121": _DENSENET.entry(),
    "convnext_tiny": _CONVNEXT.entry(),
}
