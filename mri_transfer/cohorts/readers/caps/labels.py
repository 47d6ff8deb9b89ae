"""Label tables for a CAPS folder: participant_id, session_id, diagnosis and covariates."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mri_transfer.cohorts.common_faults import repeated_row
from mri_transfer.cohorts.manifest.manifest import BASE_COLUMNS
from mri_transfer.cohorts.manifest.text_table import TextTable, parse_number, read_text_table
from mri_transfer.cohorts.readers.id_matching import Key, likely_keys, mismatch_fault, mismatch_note
from mri_transfer.cohorts.words import listed
from mri_transfer.core.specs import suggestion
from mri_transfer.errors import Fault, ManifestError

__all__ = ["CapsLabels", "read_caps_labels"]

_PATIENT, _SESSION = "participant_id", "session_id"
_OURS: Mapping[str, str] = {name: name for name in ("age", "sex", "site", "scanner")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CapsRecord:
    """A session's cells by manifest column, and the line number if there is only one table."""

    cells: Mapping[str, str | None]
    line: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CapsLabels:
    """The content of all label tables.

    Parameters
    ----------
    records : dict
        Records by (patient, session or None).
    covariates : tuple of str
        Numeric columns in addition to the manifest's own.
    single : Path or None
        The table, if there is only one.
    notes : tuple of str
    """

    records: Mapping[Key, CapsRecord]
    covariates: tuple[str, ...]
    single: Path | None
    notes: tuple[str, ...]

    @property
    def keys(self) -> tuple[Key, ...]:
        """The sessions in the tables, in their order."""
        return tuple(self.records)

    def of_scan(self, patient_id: str, session_id: str) -> CapsRecord:
        """Return a session's record; its own values take precedence over the patient's.

        The patient's label does not apply if the tables give one at other sessions.
        """
        nothing = CapsRecord(cells={}, line=None)
        patient = self.records.get((patient_id, None), nothing)
        session = self.records.get((patient_id, session_id), nothing)
        own = {name: cell for name, cell in session.cells.items() if cell is not None}
        line = patient.line if session.line is None else session.line
        cells = {**patient.cells, **own}
        if "label" not in own and patient_id in self._labelled_at_visits:
            cells["label"] = None
        return CapsRecord(cells=cells, line=line)

    @functools.cached_property
    def _labelled_at_visits(self) -> frozenset[str]:
        return frozenset(
            patient_id
            for (patient_id, session_id), record in self.records.items()
            if session_id is not None and record.cells.get("label") is not None
        )


def read_caps_labels(
    paths: Sequence[Path],
    scans: Sequence[Key],
    *,
    label_column: str,
    pad_ids: bool = False,
) -> CapsLabels:
    """Read label tables; their values for one session must agree.

    Parameters
    ----------
    paths : sequence of Path
        Tables with participant_id and session_id; without session_id, values apply to all sessions.
    scans : sequence of (patient, session)
        Keys of the images.
    label_column : str
    pad_ids : bool
        Match ids to images if they differ only in leading zeros or case; by default such ids are a
        fault.

    Raises
    ------
    ManifestError
        If a table is malformed, no table has the label column, or tables contradict each other.
    """
    if not paths:
        note = "No label table was given: nothing is known about the patients."
        return CapsLabels(records={}, covariates=(), single=None, notes=(note,))
    tables = {path: _checked(path) for path in paths}
    single = paths[0] if len(paths) == 1 else None
    columns = list(dict.fromkeys(name for table in tables.values() for name in table.columns))
    if label_column not in columns:
        fault = Fault(
            "no such label column",
            column=label_column,
            found=", ".join(name for name in columns if name not in (_PATIENT, _SESSION)),
            remedy=f"{suggestion(label_column, columns)}Choose one of these columns",
        )
        raise ManifestError(", ".join(map(str, paths)), [fault])
    cells: dict[Key, dict[str, str]] = {}
    lines: dict[Key, int | None] = {}
    matched: list[str] = []
    for path, table in tables.items():
        meant = likely_keys((key for _, key, _ in _rows(table)), scans)
        faults = []
        if meant and pad_ids:
            matched.append(mismatch_note(meant, table=path.name))
        elif meant:
            first = next(line for line, key, _ in _rows(table) if key in meant)
            faults.append(mismatch_fault(meant, row=first, column=_PATIENT))
        faults += _take(table, meant, cells, lines)
        if faults:
            raise ManifestError(str(path), faults)
    names, left_out = _roles(columns, label_column, cells)
    records = {
        key: CapsRecord(
            cells={ours: known.get(theirs) for theirs, ours in names.items()},
            line=lines[key] if single is not None else None,
        )
        for key, known in cells.items()
    }
    notes = [*matched, f"Labels are read from the column {label_column}."]
    if left_out:
        notes.append(f"Non-numeric columns left out: {listed(left_out)}.")
    covariates = tuple(ours for ours in names.values() if ours not in BASE_COLUMNS)
    return CapsLabels(records=records, covariates=covariates, single=single, notes=tuple(notes))


def _checked(path: Path) -> TextTable:
    table = read_text_table(path)
    faults = list(table.faults)
    if _PATIENT not in table.columns:
        faults.append(
            Fault(
                "the column is missing",
                row=1,
                column=_PATIENT,
                found=", ".join(table.columns),
                remedy="Give a Clinica table with participant_id and session_id",
            )
        )
    if faults:
        raise ManifestError(str(path), faults)
    return table


def _rows(table: TextTable) -> Iterator[tuple[int | None, Key, dict[str, str | None]]]:
    """Yield line number, patient and session, and other cells of each row with a patient."""
    for line, row in table.records():
        patient_id, session_id = row.pop(_PATIENT), row.pop(_SESSION, None)
        if patient_id is not None:
            yield line, (patient_id, session_id), row


def _take(
    table: TextTable,
    meant: Mapping[Key, Key],
    cells: dict[Key, dict[str, str]],
    lines: dict[Key, int | None],
) -> Iterator[Fault]:
    """Add a table's rows to those of earlier tables."""
    for line, row in table.records():
        if row[_PATIENT] is None:
            yield Fault("the cell is empty", row=line, column=_PATIENT)
    seen: dict[Key, int | None] = {}
    for line, written, row in _rows(table):
        key = meant.get(written, written)
        if key in seen:
            yield repeated_row(key, row=line, first=seen[key], column=_PATIENT)
            continue
        seen[key] = line
        lines.setdefault(key, line)
        known = cells.setdefault(key, {})
        for name, cell in row.items():
            if cell is not None and known.setdefault(name, cell) != cell:
                yield Fault(
                    "another table has a different value for this session",
                    row=line,
                    column=name,
                    found=f"{cell}, and {known[name]} in the other",
                    remedy="Correct one of them, or give only one of the tables",
                )


def _roles(
    columns: Sequence[str], label_column: str, cells: Mapping[Key, Mapping[str, str]]
) -> tuple[dict[str, str], list[str]]:
    """Return the manifest's name of each column kept, and the columns left out."""
    names, left_out = {label_column: "label"}, []
    for name in columns:
        if name in (label_column, _PATIENT, _SESSION, ""):
            continue
        ours = _OURS.get(name.casefold())
        values = [known[name] for known in cells.values() if name in known]
        is_numeric = bool(values) and all(parse_number(value) is not None for value in values)
        if ours is not None and ours not in names.values():
            names[name] = ours
        elif is_numeric and name not in (*BASE_COLUMNS, "n_scans"):
            names[name] = name
        else:
            left_out.append(name)
    return names, left_out
