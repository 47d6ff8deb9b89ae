"""Checks of a manifest: the schema, every fault at once, and the typed columns."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mri_transfer.cohorts.manifest.paths import content_faults, path_fault, resolve_path
from mri_transfer.cohorts.manifest.schema import (
    ID_COLUMNS,
    REQUIRED_COLUMNS,
    is_name,
    schema_faults,
)
from mri_transfer.cohorts.manifest.text_table import TextTable, parse_number
from mri_transfer.errors import Fault, ManifestError

__all__ = ["BASE_COLUMNS", "check_table"]

#: The columns that every manifest has, in this order; covariates follow.
BASE_COLUMNS = (
    "patient_id",
    "session_id",
    "scan_id",
    "path",
    "label",
    "age",
    "sex",
    "site",
    "scanner",
)
_COUNT_COLUMN = "n_scans"
_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_LINE_BREAKS = re.compile(r"[\r\n]+")


def check_table(
    table: TextTable, *, where: str, folder: Path, check_files: bool = True
) -> pd.DataFrame:
    """Convert a table of text to the typed table of a manifest, or report every fault.

    Parameters
    ----------
    table : TextTable
    where : str
        What to call the table in messages.
    folder : Path
        The cohort's folder: relative paths start here and must stay inside it.
    check_files : bool
        Whether to check that the files exist and that no two patients share one. The syntax of
        paths is always checked.

    Returns
    -------
    DataFrame of shape (n_scans, n_columns)
        `BASE_COLUMNS`, then the others in the table's order. Text columns have pandas' ``string``
        type with NA for missing values; age and numeric columns are float64 with NaN.

    Raises
    ------
    ManifestError
        With all faults, in the order of the table.
    """
    faults = [*table.faults, *_column_faults(table.columns)]
    frame = _text_frame(table)
    lines = table.lines
    if frame.empty:
        faults.append(Fault("the table has no rows", remedy="List one scan per row"))
    faults += schema_faults(frame, lines, named=table.columns)
    faults += _duplicate_scans(frame, lines, named="scan_id" in table.columns)
    for column in ("label", "sex"):
        faults += _contradictions(frame, column, lines)
    faults += _path_faults(frame, lines, folder=folder, check_files=check_files)
    if faults:
        order = [*frame.columns]
        faults.sort(key=lambda fault: (fault.row or 0, _position(order, fault.column)))
        raise ManifestError(where, faults)
    return _typed(frame, folder)


def _position(order: Sequence[str], column: str | None) -> int:
    return order.index(column) if column in order else -1


def _column_faults(columns: Sequence[str]) -> Iterator[Fault]:
    if _COUNT_COLUMN in columns:
        yield Fault(
            "the column name is reserved",
            row=1,
            column=_COUNT_COLUMN,
            remedy="Rename it: the number of a patient's scans is stored under that name",
        )
    for name in REQUIRED_COLUMNS:
        if name not in columns:
            yield Fault(
                "the column is missing",
                row=1,
                column=name,
                found=", ".join(column for column in columns if column) or "no columns",
                expected=", ".join(REQUIRED_COLUMNS),
                remedy="Add it, or map one of the columns to it",
            )


def _text_frame(table: TextTable) -> pd.DataFrame:
    """Return the cells as normalised text, scan_id filled in; None where missing."""
    records = [_unified(cells) for _, cells in table.records()]
    extra = [name for name in dict.fromkeys(table.columns) if name and name not in BASE_COLUMNS]
    columns = [*BASE_COLUMNS, *extra]
    cells = {name: [record.get(name) for record in records] for name in columns}
    return pd.DataFrame(cells, columns=columns, dtype=object)


def _unified(cells: Mapping[str, str | None]) -> dict[str, str | None]:
    # An accented name has two encodings that look the same. Paths must not be normalised.
    record = {
        name: cell if cell is None or name == "path" else unicodedata.normalize("NFC", cell)
        for name, cell in cells.items()
    }
    for name, cell in record.items():
        if cell is not None and name not in (*ID_COLUMNS, "path"):
            record[name] = _LINE_BREAKS.sub(" ", cell)
    sex = record.get("sex")
    if sex is not None:
        record["sex"] = _SEXES.get(sex.casefold(), sex)
    if record.get("scan_id") is None:
        parts = [part for name in ID_COLUMNS[:2] if (part := record.get(name)) is not None]
        # An invalid part is reported by itself; a scan_id built from it would repeat the fault.
        record["scan_id"] = "_".join(parts) or None if all(map(is_name, parts)) else None
    return record


def _duplicate_scans(
    frame: pd.DataFrame, lines: Sequence[int | None], *, named: bool
) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for at, scan_id in enumerate(frame["scan_id"]):
        if scan_id is None:
            continue
        if first.setdefault(scan_id, at) != at:
            yield Fault(
                "two rows with one scan_id",
                row=lines[at],
                column="scan_id",
                found=f"{scan_id}, as in {_row_name(first[scan_id], lines)}",
                remedy="Give each scan its own scan_id, or delete one of the rows"
                if named
                else "Add a column scan_id: patient_id and session_id do not distinguish these "
                "scans",
            )


def _contradictions(
    frame: pd.DataFrame, column: str, lines: Sequence[int | None]
) -> Iterator[Fault]:
    """Yield a fault for each patient with contradictory values in a column."""
    known = frame[frame["patient_id"].notna() & frame[column].notna()]
    distinct = known.drop_duplicates(["patient_id", column])
    contradictory = distinct[distinct.duplicated("patient_id", keep=False)]
    for patient_id, rows in contradictory.groupby("patient_id", sort=False):
        positions = [int(at) for at in rows.index]
        found = ", ".join(
            f"{value} ({_row_name(at, lines)})"
            for value, at in zip(rows[column], positions, strict=True)
        )
        yield Fault(
            f"patient {patient_id} has {len(rows)} different values of {column}",
            row=lines[positions[1]],
            column=column,
            found=found,
            expected="one value per patient",
            remedy="Correct it, or keep only the scans of one diagnosis"
            if column == "label"
            else "Correct it; if they are two people, give them two patient_ids",
        )


def _row_name(at: int, lines: Sequence[int | None]) -> str:
    line = lines[at]
    return f"scan {at + 1}" if line is None else f"row {line}"


def _path_faults(
    frame: pd.DataFrame, lines: Sequence[int | None], *, folder: Path, check_files: bool
) -> Iterator[Fault]:
    sound, paths, owners = [], list(frame["path"]), list(frame["patient_id"])
    for at, text in enumerate(paths):
        if text is None:
            continue
        fault = path_fault(text, folder, row=lines[at], check_files=check_files)
        if fault is not None:
            yield fault
        elif owners[at] is not None:
            sound.append(at)
    if check_files:
        yield from content_faults(
            [resolve_path(paths[at], folder) for at in sound],
            [owners[at] for at in sound],
            [lines[at] for at in sound],
        )


def _typed(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    typed = {}
    for name in frame.columns:
        cells = list(frame[name])
        if name == "path":
            cells = [resolve_path(cell, folder) for cell in cells]
        numbers = [math.nan if cell is None else parse_number(cell) for cell in cells]
        is_text = name in BASE_COLUMNS and name != "age"
        if is_text or None in numbers:
            typed[name] = pd.Series(cells, dtype="string")
        else:
            typed[name] = pd.Series(numbers, dtype="float64")
    return pd.DataFrame(typed, columns=frame.columns)
