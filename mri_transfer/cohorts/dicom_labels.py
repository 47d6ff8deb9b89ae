"""Labels of DICOM patients, from a table that names them by their ids; messages never do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mri_transfer.cohorts.spreadsheet import read_table
from mri_transfer.errors import Fault, ManifestError
from mri_transfer.manifest_table import TextTable

__all__ = ["read_patient_labels"]

_PATIENT, _LABEL = "patient_id", "label"


def read_patient_labels(path: Path) -> Mapping[str, str | None]:
    """Read which label each patient has.

    Parameters
    ----------
    path : Path
        Table with the columns patient_id, as in the DICOM headers, and label.

    Returns
    -------
    mapping
        Patient's id to label, or to None where the cell is empty.

    Raises
    ------
    ManifestError
        With all faults at once. Rows are named, ids never.
    """
    table = read_table(path)
    # Without a header the first row is a patient's: not even column names may be repeated then.
    missing = [name for name in (_PATIENT, _LABEL) if name not in table.columns]
    faults = [
        Fault(
            "the column is missing",
            row=1,
            column=name,
            expected=f"{_PATIENT}, {_LABEL}",
            remedy="Name the columns in the first line",
        )
        for name in missing
    ]
    labels: dict[str, str | None] = {}
    if not missing:
        faults += [*table.faults, *_take_rows(table, labels)]
    if faults:
        raise ManifestError(str(path), faults)
    return labels


def _take_rows(table: TextTable, labels: dict[str, str | None]) -> Iterator[Fault]:
    rows: dict[str, int | None] = {}
    for line, cells in table.records():
        patient_id, label = cells[_PATIENT], cells[_LABEL]
        if patient_id is None:
            yield Fault(
                "the cell is empty", row=line, column=_PATIENT, remedy="Fill it in or delete it"
            )
        elif labels.setdefault(patient_id, label) != label:
            yield Fault(
                "two labels for one patient",
                row=line,
                column=_LABEL,
                found=f"another one than in row {rows[patient_id]}",
                remedy="Correct one of the rows",
            )
        else:
            rows.setdefault(patient_id, line)
