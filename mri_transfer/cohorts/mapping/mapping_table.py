"""Apply a ColumnMapping to a study's table."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from mri_transfer.cohorts.common_faults import absent_column, merged_columns
from mri_transfer.cohorts.manifest.manifest import BASE_COLUMNS
from mri_transfer.cohorts.manifest.text_table import TextTable, parse_number
from mri_transfer.cohorts.mapping.label_rule import LabelRule, same_cell
from mri_transfer.cohorts.mapping.mapping import EVERY_COLUMN, ColumnMapping, template_parts
from mri_transfer.cohorts.mapping.mapping_rows import MappedRow, keep_one_visit, keep_with_image
from mri_transfer.cohorts.words import counted, listed
from mri_transfer.errors import Fault, ManifestError

__all__ = ["map_table"]

_Cells = dict[str, str | None]


def map_table(
    table: TextTable, mapping: ColumnMapping, *, where: str, folder: Path | None = None
) -> tuple[TextTable, tuple[str, ...]]:
    """Apply a mapping.

    Parameters
    ----------
    table : TextTable
    mapping : ColumnMapping
    where : str
        What to call the table in messages.
    folder : Path, optional
        The folder that relative paths start from. Without it, rows without an image are kept.

    Returns
    -------
    TextTable
        Rows keep their line numbers. Faults of single cells are in its `faults`, to be reported
        together with those that the manifest finds.
    notes : tuple of str
        What was left out, and which columns the labels come from.

    Raises
    ------
    ManifestError
        If columns are missing or two are mapped to one; if no row has an image.
    """
    faults = [*_absent(table, mapping), *_merged(mapping)]
    if faults:
        raise ManifestError(where, [*table.faults, *faults])
    mapping = _present(mapping, table.columns)
    unnamed = _unnamed_columns(table, mapping)
    notes = [*_column_notes(table, mapping, unnamed)]
    table = table.without(unnamed)
    rows = [_mapped(line, cells, mapping) for line, cells in table.records()]
    if folder is not None and mapping.without_image == "leave out":
        rows, more = keep_with_image(rows, folder=folder, where=where)
        notes += more
    notes += _label_notes(rows, mapping.labels)
    row_faults = [fault for row in rows for fault in row.faults]
    row_faults += _unnamed_faults(rows, mapping.labels)
    if mapping.visits is not None:
        rows, more = keep_one_visit(rows, mapping.visits)
        notes += more
    mapped = TextTable.from_records(
        _columns(table, mapping), [row.cells for row in rows], [row.line for row in rows]
    )
    return dataclasses.replace(mapped, faults=(*table.faults, *row_faults)), tuple(notes)


def _absent(table: TextTable, mapping: ColumnMapping) -> Iterator[Fault]:
    known = {*table.columns, *mapping.optional, *mapping.split_columns, *mapping.add}
    known |= {*mapping.columns.values(), *mapping.compose}
    composed = [
        name
        for _, template in _templates(table.columns, mapping)
        for _, name, _ in template_parts(template)
        if name is not None
    ]
    order = [] if mapping.visits is None else [mapping.visits.order]
    wanted = [name for name in mapping.demanded if name not in table.columns]
    wanted += [name for name in (*composed, *order) if name not in known]
    for name in dict.fromkeys(wanted):
        yield absent_column(name, table.columns)


def _merged(mapping: ColumnMapping) -> Iterator[Fault]:
    targets = Counter([*mapping.columns.values(), *mapping.add, *mapping.split_columns])
    for ours in sorted(name for name, count in targets.items() if count > 1):
        yield merged_columns(ours)


def _present(mapping: ColumnMapping, columns: Container[str]) -> ColumnMapping:
    """Drop the mapping's entries for optional columns that are absent."""
    known = {*mapping.split_columns, *mapping.add}
    return dataclasses.replace(
        mapping,
        values={name: codes for name, codes in mapping.values.items() if name in columns},
        split={name: pattern for name, pattern in mapping.split.items() if name in columns},
        add={
            ours: names
            for ours, names in mapping.add.items()
            if all(name in columns or name in known for name in names)
        },
        columns={name: ours for name, ours in mapping.columns.items() if name in columns},
    )


def _made(mapping: ColumnMapping) -> tuple[str, ...]:
    """Return the columns that the mapping creates, whether or not the table has them."""
    label = () if mapping.labels is None else ("label",)
    return (*mapping.columns.values(), *label, *mapping.split_columns, *mapping.add)


def _displaced(table: TextTable, mapping: ColumnMapping) -> list[str]:
    """Return the table's columns that a mapped column replaces."""
    free = {*mapping.columns, *mapping.split}
    return [name for name in _made(mapping) if name in table.columns and name not in free]


def _unnamed_columns(table: TextTable, mapping: ColumnMapping) -> list[str]:
    """Return the columns that the mapping does not use, if it leaves them out."""
    if mapping.other_columns == "keep":
        return []
    named = {*BASE_COLUMNS, *mapping.demanded, *mapping.optional}
    named |= {
        name for text in mapping.compose.values() for _, name, _ in template_parts(text) if name
    }
    if mapping.visits is not None:
        named.add(mapping.visits.order)
    return [name for name in table.columns if name and name not in named]


def _columns(table: TextTable, mapping: ColumnMapping) -> list[str]:
    displaced = _displaced(table, mapping)
    own = [name for name in table.columns if name and name not in displaced]
    names = [mapping.columns.get(name, name) for name in own]
    names += [*_made(mapping), *(ours for ours, _ in _templates(table.columns, mapping))]
    if mapping.other_columns == "leave out":
        ours = {*BASE_COLUMNS, *mapping.columns.values(), *mapping.add, *mapping.compose}
        names = [name for name in names if name in ours]
    return list(dict.fromkeys(names))


def _mapped(
    line: int | None, theirs: Mapping[str, str | None], mapping: ColumnMapping
) -> MappedRow:
    cells = {name: _unless_missing(name, cell, mapping) for name, cell in theirs.items()}
    row = MappedRow(line=line, cells={})
    new: _Cells = {}
    if mapping.labels is not None:
        new["label"] = _label(row, cells, mapping.labels)
    for name, codes in mapping.values.items():
        cells[name] = _recoded(cells.get(name), codes)
    for name, pattern in mapping.split.items():
        new |= _split(row, name, cells.get(name), pattern)
    for ours, names in mapping.add.items():
        new[ours] = _sum(row, names, {**cells, **new})
    new |= {ours: cells.get(name) for name, ours in mapping.columns.items()}
    row.cells = {**cells, **new}
    for ours, template in _templates(theirs, mapping):
        row.cells[ours] = _composed(template, row.cells)
    return row


def _templates(columns: Container[str], mapping: ColumnMapping) -> list[tuple[str, str]]:
    """Return the templates of columns that the table lacks, under any name."""
    return [
        (ours, template)
        for ours, template in mapping.compose.items()
        if ours not in columns and ours not in mapping.columns.values()
    ]


def _unless_missing(name: str, cell: str | None, mapping: ColumnMapping) -> str | None:
    codes = (*mapping.missing.get(EVERY_COLUMN, ()), *mapping.missing.get(name, ()))
    if cell is None or any(same_cell(cell, code) for code in codes):
        return None
    return cell


def _recoded(cell: str | None, codes: Mapping[str, str]) -> str | None:
    if cell is None:
        return None
    return next((new or None for code, new in codes.items() if same_cell(cell, code)), cell)


def _label(row: MappedRow, cells: Mapping[str, str | None], rule: LabelRule) -> str | None:
    decision = rule.decide(cells)
    if decision.by in ("other", "nothing"):
        # No cell is missing, or the rule would have decided by that.
        row.unnamed = ", ".join(cells[name] or "" for name in rule.columns)
    return decision.label


def _split(row: MappedRow, name: str, cell: str | None, pattern: str) -> _Cells:
    compiled = re.compile(pattern)
    found = None if cell is None else compiled.fullmatch(cell)
    if found is not None:
        return found.groupdict()
    if cell is not None:
        row.faults.append(
            Fault(
                "the cell does not match the mapping's pattern",
                row=row.line,
                column=name,
                found=repr(cell),
                expected=pattern,
                remedy="Correct the cell, or the pattern in the mapping",
            )
        )
    return dict.fromkeys(compiled.groupindex)


def _sum(row: MappedRow, names: Sequence[str], cells: Mapping[str, str | None]) -> str | None:
    total = 0.0
    for name in names:
        cell = cells.get(name)
        if cell is None:
            return None
        number = parse_number(cell)
        if number is None:
            row.faults.append(
                Fault(
                    "a column to sum is not a number",
                    row=row.line,
                    column=name,
                    found=repr(cell),
                    remedy="Correct the cell, or clear it",
                )
            )
            return None
        total += number
    return repr(round(total, 9))


def _composed(template: str, cells: Mapping[str, str | None]) -> str | None:
    parts = []
    for text, name, spec in template_parts(template):
        parts.append(text)
        if name is not None:
            cell = cells.get(name)
            if cell is None:
                return None
            parts.append(format(cell, spec))
    return "".join(parts)


def _column_notes(
    table: TextTable, mapping: ColumnMapping, unnamed: Sequence[str]
) -> Iterator[str]:
    for name in _displaced(table, mapping):
        yield f"The table's own column {name} is left out: another column is mapped to {name}."
    if unnamed:
        yield f"Columns that the mapping does not use are left out: {listed(unnamed)}."


def _unnamed(rows: Sequence[MappedRow]) -> dict[str, list[int | None]]:
    """Return the values that no case covers, each with the lines of its rows."""
    lines: dict[str, list[int | None]] = {}
    for row in rows:
        if row.unnamed is not None:
            lines.setdefault(row.unnamed, []).append(row.line)
    return lines


def _label_notes(rows: Sequence[MappedRow], rule: LabelRule | None) -> Iterator[str]:
    if rule is None:
        return
    labels = listed(list(dict.fromkeys(case.label for case in rule.cases if case.label)))
    yield f"Labels ({labels}) are decided by {', '.join(rule.columns)}."
    unnamed = _unnamed(rows)
    if rule.other is not None and unnamed:
        values = [f"{value} ({len(lines)})" for value, lines in unnamed.items()]
        n_rows = counted(sum(map(len, unnamed.values())), "row")
        given = f"the label {rule.other}" if rule.other else "no label"
        yield f"{n_rows} with values that no label covers get {given}: {listed(values)}."


def _unnamed_faults(rows: Sequence[MappedRow], rule: LabelRule | None) -> Iterator[Fault]:
    if rule is None or rule.other is not None:
        return
    for value, lines in _unnamed(rows).items():
        yield Fault(
            "no label of the mapping covers this value",
            row=lines[0],
            column=", ".join(rule.columns),
            found=f"{value!r} in {counted(len(lines), 'row')}",
            remedy='Add a case for it; label = "" leaves such scans without a label',
        )
