"""Pairs of scans that are one file, volume or brain; a part of the prepare stage."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.evaluation.audit import (
    UNLIKE,
    DuplicatePair,
    DuplicateSpec,
    ScanIdentity,
    find_duplicates,
)
from mri_transfer.scans.preparation.identity import IdentityStore, identity_key
from pipelines.workspace import Workspace

__all__ = ["across_patients", "one_id_two_people", "read_duplicates", "write_duplicates"]

_COLUMNS = [
    "kind",
    "across_patients",
    "scan_a",
    "patient_a",
    "scan_b",
    "patient_b",
    "similarity",
    "mirrored",
]


def write_duplicates(
    workspace: Workspace,
    *,
    keys: Mapping[str, str],
    patients: Mapping[str, str],
    spec: DuplicateSpec,
) -> list[DuplicatePair]:
    """Compare all scans with each other and write duplicates.csv.

    Parameters
    ----------
    workspace : Workspace
    keys, patients : mapping
        Each scan's key of preparation and its patient.
    spec : DuplicateSpec
    """
    store = IdentityStore(workspace.cache)
    scans = []
    for scan_id, key in keys.items():
        known = store.get(identity_key(key))
        scans.append(
            ScanIdentity(
                scan_id=scan_id,
                patient_id=patients[scan_id],
                content_sha256=known.content_sha256,
                voxel_sha256=known.voxel_sha256,
                fingerprint=known.fingerprint,
            )
        )
    pairs = find_duplicates(scans, spec=spec)
    table = pd.DataFrame([pair.model_dump() for pair in pairs], columns=_COLUMNS)
    atomic_write_text(
        workspace.duplicates,
        table.to_csv(index=False, lineterminator="\n", float_format="%.4f"),
    )
    return pairs


def across_patients(pairs: list[DuplicatePair]) -> str | None:
    """Say that one brain goes by several patients' names, if it does: such folds leak."""
    pairs = [pair for pair in pairs if pair.across_patients]
    if not pairs:
        return None
    shown = ", ".join(f"{pair.scan_a} and {pair.scan_b} ({pair.kind})" for pair in pairs[:5])
    more = "" if len(pairs) <= 5 else f" and {len(pairs) - 5} more"
    return (
        f"WARNING: scans of different patients look like one: {shown}{more}. A person on both "
        "sides of a split leaks: give them one patient_id, or leave one out (duplicates.csv)"
    )


def one_id_two_people(pairs: list[DuplicatePair]) -> str | None:
    """Say that scans under one patient id do not look like one brain, if they do not."""
    pairs = [pair for pair in pairs if pair.kind == UNLIKE]
    if not pairs:
        return None
    shown = ", ".join(
        f"{pair.patient_a} ({pair.scan_a} and {pair.scan_b}, likeness {pair.similarity:.2f})"
        for pair in pairs[:5]
    )
    more = "" if len(pairs) <= 5 else f" and {len(pairs) - 5} more"
    return (
        f"WARNING: one id, two people? Scans of one patient do not look like one brain: {shown}"
        f"{more}. Two sites may have given the same id: if so, put the site in front of it "
        "(duplicates.csv)"
    )


def read_duplicates(workspace: Workspace) -> list[DuplicatePair]:
    """Read duplicates.csv for the audit."""
    # A patient may be called NA.
    table = pd.read_csv(
        workspace.duplicates,
        dtype={name: str for name in _COLUMNS[2:6]},
        keep_default_na=False,
        na_values={"similarity": [""]},
    )
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    return [DuplicatePair.model_validate(record) for record in records]
