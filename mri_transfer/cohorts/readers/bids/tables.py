"""Participants' data in a BIDS data set: participants.tsv, sessions.tsv and phenotype/."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mri_transfer.cohorts.common_faults import repeated_row
from mri_transfer.cohorts.manifest.text_table import TextTable, parse_number, read_text_table
from mri_transfer.cohorts.readers.id_matching import Key, likely_keys, mismatch_fault, mismatch_note
from mri_transfer.errors import Fault, ManifestError

__all__ = ["Origin", "Phenotypes", "read_phenotypes"]

_PARTICIPANTS, _SESSIONS, _PHENOTYPE = "participants.tsv", "sessions.tsv", "phenotype"
_PATIENT, _SESSION = "participant_id", "session_id"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a cell was read: the table's path in the data set, and the line number."""

    table: str
    line: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phenotypes:
    """The tables' data on patients and sessions.

    Parameters
    ----------
    columns : tuple of str
        The columns of all tables, except ids, in order of appearance. A column of a table in
        phenotype/ that shares its name with another table is called ``table.column``.
    values : dict
        Non-missing cells by (patient, session or None). Session None is for values that apply to
        all sessions.
    origins : dict
        Where each value was read, with the same keys and columns.
    lines : dict
        Line number in participants.tsv by patient.
    renamed : tuple of str
        The columns called ``table.column``.
    matched : tuple of str
        Notes on ids that were matched to those of images.
    """

    columns: tuple[str, ...]
    values: dict[Key, dict[str, str]]
    origins: dict[Key, dict[str, Origin]]
    lines: dict[str, int]
    renamed: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()

    def of_scan(self, patient_id: str, session_id: str | None) -> dict[str, str]:
        """Return the values for a scan; the session's take precedence over the patient's."""
        known = dict(self.values.get((patient_id, None), {}))
        if session_id is not None:
            known.update(self.values.get((patient_id, session_id), {}))
        return known

    def origin(self, patient_id: str, session_id: str | None, column: str) -> Origin | None:
        """Return where `of_scan` reads a column's value."""
        for key in ((patient_id, session_id), (patient_id, None)):
            if column in self.origins.get(key, {}):
                return self.origins[key][column]
        return None

    def visits(self, column: str | None = None) -> dict[str, list[str]]:
        """Return the sessions of each patient in the tables.

        Parameters
        ----------
        column : str, optional
            Only sessions at which this column has a value.
        """
        sessions: dict[str, list[str]] = {}
        for (patient_id, session_id), cells in self.values.items():
            if session_id is not None and (column is None or column in cells):
                sessions.setdefault(patient_id, []).append(session_id)
        return sessions

    def is_filled(self, column: str) -> bool:
        """Return whether a column has any value."""
        return any(column in cells for cells in self.values.values())

    def is_numeric(self, column: str) -> bool:
        """Return whether a column has values, all of them numbers."""
        cells = [cells[column] for cells in self.values.values() if column in cells]
        return bool(cells) and all(parse_number(cell) is not None for cell in cells)

    def column_like(self, names: Sequence[str]) -> str | None:
        """Return the first of the names that is a column, ignoring case, or None."""
        by_folded: dict[str, str] = {}
        for column in self.columns:
            by_folded.setdefault(column.casefold(), column)
        return next((by_folded[name] for name in names if name in by_folded), None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """One table, and the patient it belongs to if it has no column of patients."""

    name: str
    table: TextTable
    owner: str | None = None

    @property
    def own_columns(self) -> tuple[str, ...]:
        columns = dict.fromkeys(self.table.columns)
        return tuple(column for column in columns if column not in (_PATIENT, _SESSION))


@dataclasses.dataclass
class _Collector:
    scans: Sequence[Key]
    pad_ids: bool
    matched: list[str] = dataclasses.field(default_factory=list)
    values: dict[Key, dict[str, str]] = dataclasses.field(default_factory=dict)
    origins: dict[Key, dict[str, Origin]] = dataclasses.field(default_factory=dict)
    lines: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, source: _Source) -> Iterator[Fault]:
        """Add one table; it overwrites values of earlier tables."""
        faults = [*source.table.faults, *self._missing_columns(source)]
        yield from faults or self._take_rows(source)

    def _missing_columns(self, source: _Source) -> Iterator[Fault]:
        needed = _PATIENT if source.owner is None else _SESSION
        if needed not in source.table.columns:
            yield Fault(
                "the column is missing",
                row=1,
                column=needed,
                found=", ".join(source.table.columns),
                remedy="BIDS requires it as the first column",
            )

    def _take_rows(self, source: _Source) -> Iterator[Fault]:
        rows: list[tuple[int | None, Key, dict[str, str | None]]] = []
        for line, cells in source.table.records():
            patient_id = _prefixed(cells.pop(_PATIENT, None) or source.owner, "sub-")
            session_id = _prefixed(cells.pop(_SESSION, None), "ses-")
            if patient_id is None or (source.owner is not None and session_id is None):
                column = _PATIENT if patient_id is None else _SESSION
                yield Fault("the cell is empty", row=line, column=column)
                continue
            rows.append((line, (patient_id, session_id), cells))
        meant = likely_keys((key for _, key, _ in rows), self.scans)
        if meant and self.pad_ids:
            self.matched.append(mismatch_note(meant, table=source.name))
        elif meant:
            first = next(line for line, key, _ in rows if key in meant)
            column = _PATIENT if source.owner is None else _SESSION
            yield mismatch_fault(meant, row=first, column=column)
        seen: dict[Key, int | None] = {}
        for line, written, cells in rows:
            key = meant.get(written, written)
            if key in seen:
                yield repeated_row(key, row=line, first=seen[key], column=_PATIENT)
                continue
            seen[key] = line
            self._take(source, line, key, cells)

    def _take(
        self, source: _Source, line: int | None, key: Key, cells: dict[str, str | None]
    ) -> None:
        if line is not None and source.name == _PARTICIPANTS:
            self.lines.setdefault(key[0], line)
        known = {column: cell for column, cell in cells.items() if cell is not None}
        self.values.setdefault(key, {}).update(known)
        origin = Origin(table=source.name, line=line)
        self.origins.setdefault(key, {}).update(dict.fromkeys(known, origin))


def _prefixed(text: str | None, prefix: str) -> str | None:
    return text if text is None or text.startswith(prefix) else prefix + text


def read_phenotypes(
    root: Path,
    scans: Sequence[Key],
    *,
    tables: Sequence[str] | None = None,
    pad_ids: bool = False,
) -> Phenotypes:
    """Read participants.tsv, sessions.tsv, phenotype/ and each patient's own session table.

    Parameters
    ----------
    root : Path
        The data set's folder.
    scans : sequence of (patient, session or None)
        Keys of the images. Each patient's own session table is read if it exists
        (``sub-X/sub-X_sessions.tsv``).
    tables : sequence of str, optional
        Names of the tables in phenotype/ to read, such as ``mmse``; by default all.
    pad_ids : bool
        Match ids of the tables to images if they differ only in leading zeros or case; by default
        such ids are a fault.

    Raises
    ------
    ManifestError
        Listing the faults of all tables: malformed tables, missing ids, contradictory rows for one
        session, tables that do not exist.
    """
    faults: list[tuple[str, Fault]] = []
    patient_ids = list(dict.fromkeys(patient_id for patient_id, _ in scans))
    own, phenotype = _sources(root, patient_ids, tables, faults)
    phenotype, renamed = _unique_columns(own, phenotype)
    collector = _Collector(scans=scans, pad_ids=pad_ids)
    # Later tables are more specific and take precedence.
    for source in (*phenotype, *own):
        faults += [(source.name, fault) for fault in collector.add(source)]
    if faults:
        raise _refusal(root, faults)
    return Phenotypes(
        columns=tuple(
            dict.fromkeys(column for source in (*own, *phenotype) for column in source.own_columns)
        ),
        values=collector.values,
        origins=collector.origins,
        lines=collector.lines,
        renamed=renamed,
        matched=tuple(collector.matched),
    )


def _sources(
    root: Path,
    patient_ids: Sequence[str],
    tables: Sequence[str] | None,
    faults: list[tuple[str, Fault]],
) -> tuple[list[_Source], list[_Source]]:
    """Read the data set's own tables, and those of phenotype/."""
    names: list[tuple[str, str | None]] = [(_PARTICIPANTS, None), (_SESSIONS, None)]
    names += [(f"{patient}/{patient}_sessions.tsv", patient) for patient in patient_ids]
    present = {path.stem: path for path in sorted((root / _PHENOTYPE).glob("*.tsv"))}
    wanted = list(present) if tables is None else [name.removesuffix(".tsv") for name in tables]
    for name in dict.fromkeys(wanted):
        if name not in present:
            fault = Fault(
                "no such table",
                found=name,
                expected=", ".join(present) or "a folder phenotype with tables",
                remedy="Choose one of these tables",
            )
            faults.append((_PHENOTYPE, fault))
    every: tuple[list[_Source], list[_Source]] = ([], [])
    listed = [(every[0], name, owner) for name, owner in names]
    listed += [
        (every[1], f"{_PHENOTYPE}/{name}.tsv", None) for name in present if name in set(wanted)
    ]
    for sources, name, owner in listed:
        if (root / name).is_file():
            try:
                source = _Source(name=name, table=read_text_table(root / name), owner=owner)
            except ManifestError as error:
                faults += [(name, fault) for fault in error.faults]
            else:
                sources.append(source)
    return every


def _unique_columns(
    own: Sequence[_Source], phenotype: Sequence[_Source]
) -> tuple[list[_Source], tuple[str, ...]]:
    """Rename columns of phenotype/ that share a name with another table."""
    taken = {column for source in own for column in source.own_columns}
    count = Counter(column for source in phenotype for column in source.own_columns)
    sources: list[_Source] = []
    renamed: list[str] = []
    for source in phenotype:
        names = {
            column: f"{Path(source.name).stem}.{column}"
            for column in source.own_columns
            if column in taken or count[column] > 1
        }
        renamed += names.values()
        sources.append(dataclasses.replace(source, table=source.table.renamed(names)))
    return sources, tuple(renamed)


def _refusal(root: Path, faults: Sequence[tuple[str, Fault]]) -> ManifestError:
    """Name the faulty table in the error or, if there are several, in each fault."""
    names = {name for name, _ in faults}
    if len(names) == 1:
        return ManifestError(str(root / names.pop()), [fault for _, fault in faults])
    named = [dataclasses.replace(fault, what=f"{name}: {fault.what}") for name, fault in faults]
    return ManifestError(str(root), named)
