"""Cohorts given as a table: CSV, TSV or a workbook, one row a scan and columns of any name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from mri_transfer.cohorts.mapping import ColumnMapping, read_mapping
from mri_transfer.cohorts.mapping_table import map_table
from mri_transfer.cohorts.reading import CohortReading, label_notes
from mri_transfer.cohorts.spreadsheet import read_table
from mri_transfer.errors import Fault, ManifestError
from mri_transfer.manifest import make_manifest

__all__ = ["read_csv_cohort"]


def read_csv_cohort(
    source: str | Path,
    *,
    root: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    mapping: str | Path | ColumnMapping | None = None,
) -> CohortReading:
    """Read a table of scans.

    Parameters
    ----------
    source : str or Path
        The table: text separated by commas or tabs, or a .xlsx workbook. Of the manifest's columns
        only patient_id and path are required; columns that the manifest does not know become
        covariates.
    root : str or Path, optional
        Folder that relative paths start from and may not leave; by default the table's own.
    columns : mapping, optional
        The table's column name to the manifest's, such as ``{"Subject": "patient_id"}``; has
        precedence over the mapping.
    mapping : str, Path or ColumnMapping, optional
        How the table becomes a manifest: a TOML file, or the name of a shipped mapping such as
        ``adni`` (see `mri_transfer.cohorts.mapping`).

    Returns
    -------
    CohortReading

    Raises
    ------
    ManifestError
        With all faults at once, also for a column in `columns` that the table does not have.
    ConfigurationError
        If the mapping cannot be read or meant.
    """
    path = Path(os.path.abspath(source))
    folder = path.parent if root is None else Path(os.path.abspath(root))
    if not folder.is_dir():
        fault = Fault("the root is not a folder", remedy="Name the folder that holds the scans")
        raise ManifestError(str(folder), [fault])
    chosen = ColumnMapping() if mapping is None else read_mapping(mapping)
    chosen = _with_columns(chosen, columns or {})
    table, notes = map_table(read_table(path), chosen, where=str(path), folder=folder)
    manifest = make_manifest(table, source=path, folder=folder)
    return CohortReading(manifest=manifest, notes=(*notes, *label_notes(manifest)))


def _with_columns(mapping: ColumnMapping, columns: Mapping[str, str]) -> ColumnMapping:
    """Give what the caller says of columns precedence over the mapping."""
    targets = columns.values()
    kept = {theirs: ours for theirs, ours in mapping.columns.items() if ours not in targets}
    labels = None if "label" in targets else mapping.labels
    return dataclasses.replace(mapping, columns={**kept, **columns}, labels=labels)
