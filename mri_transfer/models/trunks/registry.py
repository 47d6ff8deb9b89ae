"""The trunks that there are. Another one needs a module with an entry, and a line here."""

from __future__ import annotations

from mri_transfer.models.trunks.entry import TrunkEntry
from mri_transfer.models.trunks.vgg16 import VGG16

__all__ = ["DEFAULT_TRUNK", "TRUNKS"]

TRUNKS: dict[str, TrunkEntry] = {"vgg16": VGG16}
DEFAULT_TRUNK = "vgg16"
