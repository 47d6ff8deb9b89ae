"""Trunks: networks trained on natural images, kept frozen, that turn slices into feature maps."""

from __future__ import annotations

from mri_transfer.models.trunks.trunk import (
    FLOAT_PRECISIONS,
    Trunk,
    TrunkSpec,
    load_trunk,
    native_precision,
    resolve_device,
    trunk_arithmetic,
    trunk_digest,
    trunk_names,
)
from mri_transfer.models.trunks.weights import (
    TrunkWeights,
    WeightsSource,
    find_weights,
    tensors_digest,
)

__all__ = [
    "FLOAT_PRECISIONS",
    "Trunk",
    "TrunkSpec",
    "TrunkWeights",
    "WeightsSource",
    "find_weights",
    "load_trunk",
    "native_precision",
    "resolve_device",
    "tensors_digest",
    "trunk_arithmetic",
    "trunk_digest",
    "trunk_names",
]
