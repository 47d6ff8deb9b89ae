"""Trunks: networks trained on natural images, that turn slices into feature maps."""

from __future__ import annotations

from mri_transfer.models.trunks.entry import InputScaling, TrunkEntry
from mri_transfer.models.trunks.network import INPUT, TrunkNetwork
from mri_transfer.models.trunks.registry import TRUNKS
from mri_transfer.models.trunks.trunk import (
    FLOAT_PRECISIONS,
    Trunk,
    TrunkSpec,
    load_trunk,
    native_precision,
    resolve_device,
    trunk_arithmetic,
    trunk_digest,
)
from mri_transfer.models.trunks.weights import TrunkWeights, WeightsSource

__all__ = [
    "FLOAT_PRECISIONS",
    "INPUT",
    "TRUNKS",
    "InputScaling",
    "Trunk",
    "TrunkEntry",
    "TrunkNetwork",
    "TrunkSpec",
    "TrunkWeights",
    "WeightsSource",
    "load_trunk",
    "native_precision",
    "resolve_device",
    "trunk_arithmetic",
    "trunk_digest",
]
