"""Preparation: from original scans to brains in template space."""

from __future__ import annotations

from mri_transfer.scans.preparation.prepared import (
    PreparationSpec,
    PreparedScan,
    prepare_scan,
    prepared_key,
)
from mri_transfer.scans.preparation.store import (
    PreparedStore,
    bids_stem,
    write_derivative,
    write_description,
)

__all__ = [
    "PreparationSpec",
    "PreparedScan",
    "PreparedStore",
    "bids_stem",
    "prepare_scan",
    "prepared_key",
    "write_derivative",
    "write_description",
]
