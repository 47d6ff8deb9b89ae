"""Rows of a mapped table, and which of them are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mri_transfer.cohorts.manifest.paths import resolve_path
from mri_transfer.cohorts.manifest.text_table import parse_number
from mri_transfer.cohorts.mapping.mapping import VisitChoice
from mri_transfer.cohorts.words import counted, listed
from mri_transfer.errors import Fault, ManifestError

__all__ = ["MappedRow", "keep_one_visit", "keep_with_image"]


@dataclasses.dataclass(kw_only=True)
class MappedRow:
    """A row with its source and manifest columns.

    Parameters
    ----------
    line : int or None
        The row's line number in its file.
    cells : dict
        Cells by column, None where missing; a manifest column replaces a source column of the same
        name.
    faults : list of Fault
        Faults of its cells.
    unnamed : str, optional
        The value that decides the label, if no case covers it.
    """

    line: int | None
    cells: dict[str, str | None]
    faults: list[Fault] = dataclasses.field(default_factory=list)
    unnamed: str | None = None

    @property
    def name(self) -> str:
        """The row's name in notes: patient and session, or else the line number."""
        ids = (self.cells.get("patient_id"), self.cells.get("session_id"))
        return " ".join(part for part in ids if part is not None) or f"row {self.line}"


def keep_with_image(
    rows: Sequence[MappedRow], *, folder: Path, where: str
) -> tuple[list[MappedRow], list[str]]:
    """Leave out the rows whose path is empty or names no file.

    Rows with faults are kept, so that the faults are reported: they may be why there is no path.

    Parameters
    ----------
    rows : sequence of MappedRow
    folder : Path
        The folder that relative paths start from.
    where : str
        What to call the table in messages.

    Returns
    -------
    rows : list of MappedRow
    notes : list of str

    Raises
    ------
    ManifestError
        If no row is left.
    """
    is_kept = [bool(row.faults) or _has_image(row, folder) for row in rows]
    if rows and not any(is_kept):
        tried = next((path for row in rows if (path := row.cells.get("path")) is not None), None)
        fault = Fault(
            "no row of the table has an image",
            column="path",
            found=None if tried is None else f"nothing at {resolve_path(tried, folder)}",
            remedy="Add a column path to the table, or give the folder that paths start from",
        )
        raise ManifestError(where, [fault])
    kept = [row for row, keep in zip(rows, is_kept, strict=True) if keep]
    names = [row.name for row, keep in zip(rows, is_kept, strict=True) if not keep]
    if not names:
        return kept, []
    return kept, [f"{counted(len(names), 'row')} without an image left out: {listed(names)}."]


def _has_image(row: MappedRow, folder: Path) -> bool:
    path = row.cells.get("path")
    return path is not None and Path(resolve_path(path, folder)).exists()


def keep_one_visit(
    rows: Sequence[MappedRow], choice: VisitChoice
) -> tuple[list[MappedRow], list[str]]:
    """Keep one row per patient: the first or last with a label or, if there is none, of all.

    Rows without a value to order by come last; among ties the first row is kept. Rows without a
    patient are kept, so that the fault is reported.

    Returns
    -------
    rows : list of MappedRow
    notes : list of str
    """
    ranks = _ranks([row.cells.get(choice.order) for row in rows], last=choice.keep == "last")
    best: dict[str, int] = {}
    for at, row in enumerate(rows):
        patient_id = row.cells.get("patient_id")
        if patient_id is None:
            continue
        before = best.setdefault(patient_id, at)
        if _priority(rows[at], ranks[at]) < _priority(rows[before], ranks[before]):
            best[patient_id] = at
    kept = [
        row
        for at, row in enumerate(rows)
        if row.cells.get("patient_id") is None or at in best.values()
    ]
    left_out = len(rows) - len(kept)
    if not left_out:
        return kept, []
    return kept, [
        f"One visit per patient is kept, the {choice.keep} with a label by {choice.order}: "
        f"{counted(left_out, 'other visit')} left out."
    ]


def _priority(row: MappedRow, rank: int) -> tuple[bool, int]:
    return row.cells.get("label") is None, rank


def _ranks(cells: Sequence[str | None], *, last: bool) -> list[int]:
    """Return each cell's rank: numerical if all cells are numbers, else by text."""
    known = {cell for cell in cells if cell is not None}
    numbers = {cell: parse_number(cell) for cell in known}
    if None in numbers.values():
        ordered: list[list[str]] = [[cell] for cell in sorted(known, reverse=last)]
    else:
        values = sorted({number for number in numbers.values() if number is not None}, reverse=last)
        ordered = [[cell for cell in known if numbers[cell] == value] for value in values]
    ranks = {cell: at for at, group in enumerate(ordered) for cell in group}
    return [len(ordered) if cell is None else ranks[cell] for cell in cells]
