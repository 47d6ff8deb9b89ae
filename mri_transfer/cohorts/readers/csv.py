"""Reader of tables: CSV, TSV or a workbook with one row per scan and any column names."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from mri_transfer.cohorts.common_faults import absent_column, merged_columns
from mri_transfer.cohorts.manifest.manifest import BASE_COLUMNS, make_manifest
from mri_transfer.cohorts.manifest.text_table import TextTable
from mri_transfer.cohorts.mapping.mapping import ColumnMapping, read_mapping
from mri_transfer.cohorts.mapping.mapping_table import map_table
from mri_transfer.cohorts.readers.image_files import add_paths
from mri_transfer.cohorts.readers.reading import CohortReading, label_notes
from mri_transfer.cohorts.readers.spreadsheet import read_table, sheet_notes, table_name
from mri_transfer.errors import Fault, ManifestError

__all__ = ["read_csv_cohort"]


def read_csv_cohort(
    source: str | Path,
    *,
    root: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    mapping: str | Path | ColumnMapping | None = None,
    images: str | Path | None = None,
    sheet: str | None = None,
) -> CohortReading:
    """Read a table of scans.

    Parameters
    ----------
    source : str or Path
        The table: comma- or tab-separated text, or a .xlsx workbook. Of the manifest's columns only
        patient_id and path are required; unknown columns become covariates.
    root : str or Path, optional
        Folder that relative paths start from and must stay inside; by default the table's own.
    columns : mapping, optional
        The manifest's name of each column of the table, such as ``{"Subject": "patient_id"}``;
        takes precedence over the mapping. A column renamed to one that the mapping reads, such as
        ``{"MRI ID": "ID"}`` with the mapping ``oasis1``, is renamed before the mapping is applied.
    mapping : str, Path or ColumnMapping, optional
        How the table becomes a manifest: a TOML file, or the name of a shipped mapping such as
        ``adni`` (see `mri_transfer.cohorts.mapping.mapping`).
    images : str or Path, optional
        For tables without paths: the folder in which to find each row's file by its image id, the
        column that becomes scan_id. `root` is then this folder.
    sheet : str, optional
        Sheet of a workbook; by default the first.

    Returns
    -------
    CohortReading

    Raises
    ------
    ManifestError
        Listing every fault, including columns in `columns` that the table lacks.
    ConfigurationError
        If the mapping cannot be read or is invalid.
    """
    path = Path(os.path.abspath(source))
    folder = Path(os.path.abspath(images or root or path.parent))
    if not folder.is_dir():
        fault = Fault("the root is not a folder", remedy="Give the folder with the scans")
        raise ManifestError(str(folder), [fault])
    chosen = ColumnMapping() if mapping is None else read_mapping(mapping)
    table, where = read_table(path, sheet=sheet), table_name(path, sheet)
    theirs_too = chosen.inputs.difference(BASE_COLUMNS)
    before = {theirs: ours for theirs, ours in (columns or {}).items() if ours in theirs_too}
    table = _renamed(table, before, where=where)
    after = {theirs: ours for theirs, ours in (columns or {}).items() if theirs not in before}
    chosen = _with_columns(chosen, after)
    notes = [*sheet_notes(path, sheet)]
    if images is not None:
        table, more = add_paths(table, folder, column=_image_column(chosen), where=where)
        notes += more
    table, more = map_table(table, chosen, where=where, folder=folder)
    manifest = make_manifest(table, source=path, folder=folder, where=where)
    return CohortReading(manifest=manifest, notes=(*notes, *more, *label_notes(manifest)))


def _renamed(table: TextTable, names: Mapping[str, str], *, where: str) -> TextTable:
    """Rename columns to those that the mapping reads."""
    faults = [absent_column(name, table.columns) for name in names if name not in table.columns]
    faults += [merged_columns(ours) for ours in names.values() if ours in table.columns]
    if faults:
        raise ManifestError(where, faults)
    return table.renamed(names)


def _image_column(mapping: ColumnMapping) -> str:
    """Return the column of the table that becomes scan_id."""
    named = (theirs for theirs, ours in mapping.columns.items() if ours == "scan_id")
    return next(named, "scan_id")


def _with_columns(mapping: ColumnMapping, columns: Mapping[str, str]) -> ColumnMapping:
    """Return the mapping with the caller's columns, which take precedence."""
    targets = columns.values()
    kept = {theirs: ours for theirs, ours in mapping.columns.items() if ours not in targets}
    labels = None if "label" in targets else mapping.labels
    return dataclasses.replace(mapping, columns={**kept, **columns}, labels=labels)
