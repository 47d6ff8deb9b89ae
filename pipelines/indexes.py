"""The tables that tell which entries of the cache are a run's scans."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pandas as pd

from mri_transfer.core.files import sha256_of_file
from mri_transfer.errors import RunFolderError, ScanError
from mri_transfer.scans.preparation import PreparedStore
from mri_transfer.scans.slices import SliceStack, SliceStore
from mri_transfer.scans.volumes import Volume, VolumeSpec, load_volume
from pipelines.workspace import Workspace

__all__ = ["load_prepared", "read_index", "read_prepared_index", "read_stacks", "scan_rows"]


def read_index(path: Path) -> pd.DataFrame:
    """Read a table as text: patients may be called 007 or NA."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def scan_rows(index: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return of each scan of a table its name, its patient and the SHA-256 of its file."""
    return list(zip(index["scan_id"], index["patient_id"], index["scan_sha256"], strict=True))


def read_prepared_index(workspace: Workspace) -> list[dict[str, str]]:
    """Return scan_id, patient_id, scan_sha256, volume_key and volume (path) of every scan.

    Paths of volumes are absolute: other machines have another working folder.
    """
    index = read_index(workspace.prepared)
    store = PreparedStore(workspace.cache)
    rows = [
        {str(name): str(cell) for name, cell in row.items()} for row in index.to_dict("records")
    ]
    return [
        {
            **row,
            "volume": os.path.abspath(row["path"] or store.volume_path(row["volume_key"])),
        }
        for row in rows
    ]


def read_stacks(
    workspace: Workspace, index: Path, *, scan_ids: Collection[str] = ()
) -> Iterator[SliceStack]:
    """Yield the slices of scans from the cache, in the order of the index.

    Parameters
    ----------
    workspace : Workspace
    index : Path
        The run's slices.csv.
    scan_ids : collection of str
        Empty: all scans.
    """
    store, table = SliceStore(workspace.cache), read_index(index)
    for scan_id, key in zip(table["scan_id"], table["key"], strict=True):
        if not scan_ids or scan_id in scan_ids:
            yield store.get(key, scan_id=scan_id)


def load_prepared(scan: Mapping[str, str], spec: VolumeSpec) -> Volume:
    """Load a scan's prepared volume.

    Parameters
    ----------
    scan : mapping
        A row of `read_prepared_index`.
    spec : VolumeSpec

    Raises
    ------
    RunFolderError
        If a scan that passed through is no longer the file that was looked at: what is made of it
        would stand under the key of another.
    """
    try:
        found = sha256_of_file(scan["path"]) if scan["path"] else scan["scan_sha256"]
        if found == scan["scan_sha256"]:
            return load_volume(scan["volume"], scan_id=scan["scan_id"], spec=spec)
    except (ScanError, OSError) as error:
        found = str(error)
    raise RunFolderError(
        "a scan has changed since it was prepared",
        where=f"{scan['scan_id']} ({scan['volume']})",
        found=found[:300],
        expected=f"a file of digest {scan['scan_sha256']}" if scan["path"] else None,
        remedy="Run again with --from check",
    )
