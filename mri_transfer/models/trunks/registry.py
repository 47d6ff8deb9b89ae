"""The trunks that there are. Another one needs a description, and a line here."""

from __future__ import annotations

from mri_transfer.models.trunks.autoencoder import AUTOENCODER
from mri_transfer.models.trunks.convnets import CONVNETS
from mri_transfer.models.trunks.efficientnet import EFFICIENTNET_LITE0
from mri_transfer.models.trunks.entry import TrunkEntry
from mri_transfer.models.trunks.mobilenet import MOBILENET_V2
from mri_transfer.models.trunks.nasnet import NASNET
from mri_transfer.models.trunks.squeezenet import SQUEEZENET
from mri_transfer.models.trunks.vgg16 import VGG16
from mri_transfer.models.trunks.xception import XCEPTION

__all__ = ["DEFAULT_TRUNK", "TRUNKS"]

TRUNKS: dict[str, TrunkEntry] = {
    "vgg16": VGG16,
    **CONVNETS,
    "nasnet": NASNET,
    "mobilenet_v2": MOBILENET_V2,
    "xception": XCEPTION,
    "efficientnet_lite0": EFFICIENTNET_LITE0,
    "squeezenet1_1": SQUEEZENET,
    "autoencoder": AUTOENCODER,
}
DEFAULT_TRUNK = "vgg16"
