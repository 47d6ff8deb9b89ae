"""The encoder of a convolutional autoencoder, trained on unlabelled scans of other cohorts.

Its weights are released by nobody: `mri-transfer pretrain` makes them
(`mri_transfer.models.pretraining`, docs/decisions/0017).
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from mri_transfer.models.trunks.entry import InputScaling
from mri_transfer.models.trunks.library import LibraryTrunk
from mri_transfer.models.trunks.library_weights import Release, find_weights
from mri_transfer.models.trunks.seen import SeenScans
from mri_transfer.models.trunks.weights import TrunkWeights

if TYPE_CHECKING:
    import torch

__all__ = ["AUTOENCODER", "ENCODER_CHANNELS"]

#: Of each stage; every stage halves rows and columns.
ENCODER_CHANNELS = (32, 64, 128, 256)
#: Layers of a stage in their order.
_LAYERS = ("conv1", "bn1", "relu1", "conv2", "bn2", "relu2")


def _encoder() -> torch.nn.Module:
    from torch import nn

    stages: OrderedDict[str, nn.Module] = OrderedDict()
    before = 3
    for number, channels in enumerate(ENCODER_CHANNELS, start=1):
        modules = (
            nn.Conv2d(before, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        stages[f"encode{number}"] = nn.Sequential(OrderedDict(zip(_LAYERS, modules, strict=True)))
        before = channels
    return nn.Sequential(stages)


_NETWORK = LibraryTrunk(
    title="Autoencoder",
    library="mri_transfer",
    model="autoencoder",
    build=_encoder,
    stages={
        f"encode{number}": tuple(f"encode{number}.{layer}" for layer in _LAYERS)
        for number in range(1, len(ENCODER_CHANNELS) + 1)
    },
    default_stage="encode4",
    # That of the slices it was pretrained on, which its weights tell.
    input_px=0,
    scalings={
        "unit": InputScaling(
            mean=(0.0, 0.0, 0.0),
            deviation=(255.0, 255.0, 255.0),
            words="grey values divided by 255 in three equal channels, no mean subtracted",
        )
    },
    activations_per_pixel=ENCODER_CHANNELS[0],
    hub=False,
    paper="He et al. 2022, arXiv:2111.06377, for the reconstruction of masked squares",
    licence="that of its training scans",
    authors="their makers",
)


def _release() -> Release:
    return dataclasses.replace(
        _NETWORK.release(),
        made_by="mri-transfer pretrain MANIFEST --out WEIGHTS.safetensors",
    )


def _find(*, path: Path | None, cache: Path | None, digest: str = "") -> TrunkWeights:
    """Find weights that say which scans they have seen."""
    found = find_weights(_release(), path=path, cache=cache, digest=digest)
    return dataclasses.replace(found, seen=SeenScans.read(Path(found.location)))


AUTOENCODER = dataclasses.replace(
    _NETWORK.entry(),
    trained_on="scans",
    find_weights=_find,
    origin="the encoder of a convolutional autoencoder that `mri-transfer pretrain` trained to "
    "restore masked squares of unlabelled slices of other cohorts. Neither labels nor scans of "
    "this cohort took part: the digests of all scans that did are in the file of the weights, and "
    "are held against this cohort's.",
    sources="The weights are read from a file that `mri-transfer pretrain` wrote; their settings "
    "and the loss by epoch stand in the JSON file beside it.",
    citation="The trunk's weights were trained here on unlabelled scans; their licence follows "
    "from that of the scans.",
    notice="Those of the autoencoder were\ntrained on unlabelled scans of other cohorts, whose "
    "terms apply.",
)
