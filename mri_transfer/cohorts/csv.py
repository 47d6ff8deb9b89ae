"""Cohorts given as a table: CSV or TSV with one row a scan and columns of any name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mri_transfer.cohorts.reading import CohortReading, label_notes
from mri_transfer.errors import Fault, ManifestError
from mri_transfer.manifest import make_manifest
from mri_transfer.manifest_table import TextTable, read_text_table

__all__ = ["read_csv_cohort"]


def read_csv_cohort(
    source: str | Path,
    *,
    root: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
) -> CohortReading:
    """Read a table of scans.

    Parameters
    ----------
    source : str or Path
        The table, separated by commas or tabs. Of the manifest's columns only patient_id and path
        are required; columns that the manifest does not know become covariates.
    root : str or Path, optional
        Folder that relative paths start from and may not leave; by default the table's own.
    columns : mapping, optional
        The table's column name to the manifest's, such as ``{"Subject": "patient_id"}``.

    Returns
    -------
    CohortReading

    Raises
    ------
    ManifestError
        With all faults at once, also for a column in `columns` that the table does not have.
    """
    path = Path(os.path.abspath(source))
    folder = path.parent if root is None else Path(os.path.abspath(root))
    if not folder.is_dir():
        fault = Fault("the root is not a folder", remedy="Name the folder that holds the scans")
        raise ManifestError(str(folder), [fault])
    table, notes = _rename(read_text_table(path), columns or {}, where=str(path))
    manifest = make_manifest(table, source=path, folder=folder)
    return CohortReading(manifest=manifest, notes=(*notes, *label_notes(manifest)))


def _rename(
    table: TextTable, columns: Mapping[str, str], *, where: str
) -> tuple[TextTable, tuple[str, ...]]:
    """Apply the user's names; a column whose name is given to another one is left out."""
    targets = list(columns.values())
    faults = [
        Fault(
            "the table has no such column",
            row=1,
            column=theirs,
            expected=", ".join(table.columns),
            remedy="Correct the name of the column",
        )
        for theirs in columns
        if theirs not in table.columns
    ]
    faults += [
        Fault("two columns are to become one", column=ours, remedy="Choose one of them")
        for ours in sorted({ours for ours in targets if targets.count(ours) > 1})
    ]
    if faults:
        raise ManifestError(where, faults)
    displaced = [ours for ours in targets if ours in table.columns and ours not in columns]
    notes = tuple(
        f"The table's own column {name} is left out: another column was named to be {name}."
        for name in displaced
    )
    return table.without(displaced).renamed(columns), notes
