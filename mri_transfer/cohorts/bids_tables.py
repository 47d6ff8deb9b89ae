"""What a BIDS data set says of its participants: participants.tsv and the tables of sessions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from mri_transfer.errors import Fault, ManifestError
from mri_transfer.manifest_table import TextTable, parse_number, read_text_table

__all__ = ["Phenotypes", "read_phenotypes"]

_PATIENT, _SESSION = "participant_id", "session_id"

Key = tuple[str, str | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phenotypes:
    """What is known of patients and of their sessions.

    Parameters
    ----------
    columns : tuple of str
        Every column of every table, the ids left out, in order of appearance.
    values : dict
        (patient, session or None) to the cells that are not missing. Session None holds what is
        true of the patient in all sessions.
    lines : dict
        Patient to the line of participants.tsv that describes it.
    """

    columns: tuple[str, ...]
    values: dict[Key, dict[str, str]]
    lines: dict[str, int]

    def of_scan(self, patient_id: str, session_id: str | None) -> dict[str, str]:
        """Return what holds for a scan: the session's values before the patient's."""
        known = dict(self.values.get((patient_id, None), {}))
        if session_id is not None:
            known.update(self.values.get((patient_id, session_id), {}))
        return known

    def is_numeric(self, column: str) -> bool:
        """Return whether a column has values and all of them are numbers."""
        cells = [cells[column] for cells in self.values.values() if column in cells]
        return bool(cells) and all(parse_number(cell) is not None for cell in cells)

    def column_like(self, names: Sequence[str]) -> str | None:
        """Return the first of the names that is a column, whatever its capitals, or None."""
        by_folded: dict[str, str] = {}
        for column in self.columns:
            by_folded.setdefault(column.casefold(), column)
        return next((by_folded[name] for name in names if name in by_folded), None)


@dataclasses.dataclass
class _Collector:
    columns: dict[str, None] = dataclasses.field(default_factory=dict)
    values: dict[Key, dict[str, str]] = dataclasses.field(default_factory=dict)
    lines: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, path: Path, *, patient_id: str | None = None, numbered: bool = False) -> None:
        """Take in one table; `patient_id` is whose it is if the table does not say so itself."""
        table = read_text_table(path)
        faults = [*table.faults, *self._missing_columns(table, patient_id)]
        if not faults:
            faults = list(self._take_rows(table, patient_id, numbered=numbered))
        if faults:
            raise ManifestError(str(path), faults)

    def _missing_columns(self, table: TextTable, patient_id: str | None) -> Iterator[Fault]:
        needed = _PATIENT if patient_id is None else _SESSION
        if needed not in table.columns:
            yield Fault(
                "the column is missing",
                row=1,
                column=needed,
                found=", ".join(table.columns),
                remedy="BIDS demands it as the first column",
            )

    def _take_rows(self, table: TextTable, owner: str | None, *, numbered: bool) -> Iterator[Fault]:
        self.columns |= dict.fromkeys(
            column for column in table.columns if column not in (_PATIENT, _SESSION)
        )
        seen: dict[Key, int | None] = {}
        for line, cells in table.records():
            patient_id = _prefixed(cells.pop(_PATIENT, None) or owner, "sub-")
            session_id = _prefixed(cells.pop(_SESSION, None), "ses-")
            if patient_id is None or (owner is not None and session_id is None):
                column = _PATIENT if patient_id is None else _SESSION
                yield Fault("the cell is empty", row=line, column=column)
                continue
            key = (patient_id, session_id)
            if key in seen:
                yield Fault(
                    "two rows about the same participant",
                    row=line,
                    column=_PATIENT,
                    found=f"{' '.join(part for part in key if part)}, as in row {seen[key]}",
                    remedy="Delete one of them",
                )
                continue
            seen[key] = line
            if line is not None and numbered:
                self.lines.setdefault(patient_id, line)
            known = {column: cell for column, cell in cells.items() if cell is not None}
            self.values.setdefault(key, {}).update(known)


def _prefixed(text: str | None, prefix: str) -> str | None:
    return text if text is None or text.startswith(prefix) else prefix + text


def read_phenotypes(root: Path, patient_ids: Sequence[str]) -> Phenotypes:
    """Read participants.tsv, sessions.tsv and every patient's own table of sessions.

    Parameters
    ----------
    root : Path
        The data set's folder.
    patient_ids : sequence of str
        Patients whose table of sessions is looked for (``sub-X/sub-X_sessions.tsv``).

    Raises
    ------
    ManifestError
        If a table is malformed or says two things about one patient's session.
    """
    collector = _Collector()
    # The later tables are the more specific ones, and win.
    for name in ("participants.tsv", "sessions.tsv"):
        if (root / name).is_file():
            collector.add(root / name, numbered=name == "participants.tsv")
    for patient_id in patient_ids:
        path = root / patient_id / f"{patient_id}_sessions.tsv"
        if path.is_file():
            collector.add(path, patient_id=patient_id)
    return Phenotypes(
        columns=tuple(collector.columns), values=collector.values, lines=collector.lines
    )
