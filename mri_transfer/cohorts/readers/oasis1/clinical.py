"""The clinical table of OASIS-1, with one row per session, and selections based on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mri_transfer.cohorts.common_faults import repeated_row
from mri_transfer.cohorts.manifest.text_table import parse_number
from mri_transfer.cohorts.mapping.mapping import ColumnMapping
from mri_transfer.cohorts.mapping.mapping_table import map_table
from mri_transfer.cohorts.readers.oasis1.discs import SessionKey
from mri_transfer.cohorts.readers.spreadsheet import read_table, sheet_notes, table_name
from mri_transfer.cohorts.words import counted, listed
from mri_transfer.errors import ConfigurationError, Fault, ManifestError

__all__ = [
    "ClinicalTable",
    "Oasis1Selection",
    "choose",
    "find_clinical_table",
    "read_clinical_table",
]

#: Which sessions to use: all, or those of a publication.
Oasis1Selection = Literal["all", "hon_khan_2017"]

#: File names of the table, in order of preference.
_NAMES = ("oasis_cross-sectional*.csv", "oasis_cross-sectional*.xlsx", "oasis1_clinical.csv")
_PUBLISHED_PER_GROUP = 100
_FIRST_SESSION = "MR1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClinicalRow:
    """A session's line number and its cells by manifest column."""

    line: int | None
    cells: dict[str, str | None]

    def number(self, column: str) -> float | None:
        """Return a cell as a number, None if it is missing or not a number."""
        cell = self.cells.get(column)
        return None if cell is None else parse_number(cell)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClinicalTable:
    """The table by session.

    Parameters
    ----------
    path : Path or None
        None if there is no table.
    columns : tuple of str
    rows : dict
    notes : tuple of str
    """

    path: Path | None
    columns: tuple[str, ...]
    rows: dict[SessionKey, ClinicalRow]
    notes: tuple[str, ...] = ()


def find_clinical_table(root: Path) -> Path | None:
    """Return the clinical table in the discs' folder or its parent, or None."""
    for folder in (root, root.parent):
        for name in _NAMES:
            tables = sorted(path for path in folder.glob(name) if path.is_file())
            if tables:
                return tables[0]
    return None


def read_clinical_table(path: Path, mapping: ColumnMapping) -> ClinicalTable:
    """Read the clinical table.

    Raises
    ------
    ManifestError
        Listing every fault, including two rows for one session.
    """
    where = table_name(path)
    table, notes = map_table(read_table(path), mapping, where=where)
    faults = list(table.faults)
    rows: dict[SessionKey, ClinicalRow] = {}
    for line, cells in table.records():
        patient_id, session_id = cells.get("patient_id"), cells.get("session_id")
        if patient_id is None or session_id is None:
            if not table.faults:
                faults.append(_nameless(line))
            continue
        row = ClinicalRow(line=line, cells=cells)
        before = rows.setdefault((patient_id, session_id), row)
        if before is not row:
            key = (patient_id, session_id)
            faults.append(repeated_row(key, row=line, first=before.line))
    if faults:
        raise ManifestError(where, faults)
    return ClinicalTable(
        path=path, columns=table.columns, rows=rows, notes=(*sheet_notes(path), *notes)
    )


def _nameless(line: int | None) -> Fault:
    return Fault(
        "the row has no patient and session",
        row=line,
        expected="an ID such as OAS1_0001_MR1",
        remedy="Fill it in or delete the row",
    )


def choose(
    table: ClinicalTable,
    keys: Sequence[SessionKey],
    *,
    selection: Oasis1Selection,
    min_age: float | None,
    max_age: float | None,
) -> tuple[list[SessionKey], list[str]]:
    """Select sessions with the clinical table.

    Parameters
    ----------
    table : ClinicalTable
    keys : sequence of SessionKey
        The sessions to select from.
    selection : {"all", "hon_khan_2017"}
        ``hon_khan_2017``: the 100 patients with CDR > 0 and the 100 oldest with CDR 0 in the whole
        table, whether or not their scans exist.
    min_age, max_age : float, optional
        Inclusive limits in years; sessions of unknown age are left out.

    Returns
    -------
    keys : list of SessionKey
        The selected sessions, in the given order.
    notes : list of str
        What was left out and why.

    Raises
    ------
    ConfigurationError
        If the table lacks a required column.
    """
    chosen = list(keys)
    notes: list[str] = []
    if selection == "hon_khan_2017":
        published, notes = _hon_khan_2017(table)
        chosen = [key for key in chosen if key in published]
        notes += _left_out(keys, chosen, "is not in the selection hon_khan_2017")
        absent = [_name(key) for key in sorted(published) if key not in chosen]
        if absent:
            notes.append(f"Sessions of the selection that are not in the folder: {listed(absent)}.")
    if min_age is not None or max_age is not None:
        low = float("-inf") if min_age is None else min_age
        high = float("inf") if max_age is None else max_age
        before = chosen
        ages = {key: row.number("age") for key, row in table.rows.items()}
        chosen = [
            key for key in before if (age := ages.get(key)) is not None and low <= age <= high
        ]
        notes += _left_out(before, chosen, _limits(min_age, max_age))
    return chosen, notes


def _limits(min_age: float | None, max_age: float | None) -> str:
    limits = [f"at least {min_age:g}" if min_age is not None else ""]
    limits.append(f"at most {max_age:g}" if max_age is not None else "")
    return f"is not known to be {' and '.join(filter(None, limits))} years old"


def _left_out(before: Sequence[SessionKey], after: Sequence[SessionKey], why: str) -> list[str]:
    names = [_name(key) for key in before if key not in set(after)]
    if not names:
        return []
    return [
        f"{counted(len(names), 'session')} left out because the patient {why}: {listed(names)}."
    ]


def _name(key: SessionKey) -> str:
    return "_".join(key)


def _hon_khan_2017(table: ClinicalTable) -> tuple[frozenset[SessionKey], list[str]]:
    """Return the sessions of Hon and Khan (2017, arXiv:1711.11117) and notes on them."""
    missing = [name for name in ("cdr", "age") if name not in table.columns]
    if missing:
        raise ConfigurationError(
            "the selection hon_khan_2017 needs the clinical table",
            where=str(table.path or "oasis1"),
            found=f"no column {' and no column '.join(missing)}",
            remedy="Give the OASIS-1 table with the columns CDR and Age",
        )
    first = {key: row for key, row in table.rows.items() if key[1] == _FIRST_SESSION}
    cdr = {key: row.number("cdr") for key, row in first.items()}
    patients = [key for key in first if (cdr[key] or 0) > 0]
    ages = {key: row.number("age") or 0.0 for key, row in first.items() if cdr[key] == 0}
    # Ties in age go to the smaller number: the publication does not specify it.
    controls = sorted(ages, key=lambda key: (-ages[key], key))
    kept, rest = controls[:_PUBLISHED_PER_GROUP], controls[_PUBLISHED_PER_GROUP:]
    notes = [
        f"Selection hon_khan_2017: {len(patients)} patients with CDR > 0 and the {len(kept)} "
        f"oldest of {len(controls)} with CDR 0 in the whole clinical table"
        + (f"; the youngest is {ages[kept[-1]]:g}." if kept else ".")
    ]
    if len(patients) != _PUBLISHED_PER_GROUP or len(kept) != _PUBLISHED_PER_GROUP:
        notes.append("The published selection has 100 and 100: the table is incomplete.")
    tied_out = [_name(key) for key in rest if ages[key] == ages[kept[-1]]]
    if tied_out:
        tied_in = [_name(key) for key in kept if ages[key] == ages[kept[-1]]]
        notes.append(
            f"At the same age of {ages[kept[-1]]:g} years, those with the smaller numbers are "
            f"kept ({listed(tied_in)}), and {listed(tied_out)} left out."
        )
    return frozenset((*patients, *kept)), notes
