"""TextTable: a CSV or TSV file as unvalidated text, with the line number of each row."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mri_transfer.errors import Fault, ManifestError

__all__ = ["TextTable", "clean_cell", "parse_number", "read_text_table"]

_MISSING = frozenset({"", "n/a", "na", "nan", "<na>"})

#: Invisible characters that are often copied along with text from other programs.
_INVISIBLE = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff"

#: The first bytes of files often mistaken for a text table, and their formats.
_OTHER_KINDS = (
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
    (b"\x1f\x8b", "a gzip-compressed file"),
)

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

Cells = tuple[str | None, ...]


def clean_cell(text: str) -> str | None:
    """Return a cell without surrounding whitespace, or None if it means "missing".

    Whitespace includes invisible characters, such as direction marks in a path copied from a
    dialogue. Missing values are the empty cell and ``n/a``, ``NA``, ``nan`` in any case.
    """
    stripped = _stripped(text)
    return None if stripped.casefold() in _MISSING else stripped


def _stripped(text: str) -> str:
    before = None
    while text != before:
        before, text = text, text.strip().strip(_INVISIBLE)
    return text


def parse_number(text: str) -> float | None:
    """Return a cell's finite number, written with a decimal point, or None."""
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table of text cells.

    Parameters
    ----------
    columns : tuple of str
        Names in the file's order, including duplicates.
    rows : tuple of tuple
        One cell per column; None where the value is missing.
    lines : tuple of int or None
        The line number at which each row begins (the header is line 1), if known.
    faults : tuple of Fault
        Faults of the table's structure, to be reported together with those of its cells.
    """

    columns: tuple[str, ...]
    rows: tuple[Cells, ...]
    lines: tuple[int | None, ...]
    faults: tuple[Fault, ...] = ()

    @classmethod
    def from_records(
        cls,
        columns: Sequence[str],
        records: Sequence[Mapping[str, str | None]],
        lines: Sequence[int | None] | None = None,
    ) -> TextTable:
        """Build a table from one mapping per row; absent keys are missing cells."""
        return cls(
            columns=tuple(columns),
            rows=tuple(tuple(record.get(column) for column in columns) for record in records),
            lines=tuple(lines) if lines is not None else (None,) * len(records),
        )

    def renamed(self, names: Mapping[str, str]) -> TextTable:
        """Return the table with columns renamed, ``{old: new}``."""
        columns = tuple(names.get(column, column) for column in self.columns)
        return dataclasses.replace(self, columns=columns)

    def without(self, columns: Sequence[str]) -> TextTable:
        """Return the table without the named columns."""
        kept = [at for at, column in enumerate(self.columns) if column not in columns]
        return dataclasses.replace(
            self,
            columns=tuple(self.columns[at] for at in kept),
            rows=tuple(tuple(row[at] for at in kept) for row in self.rows),
        )

    def records(self) -> Iterator[tuple[int | None, dict[str, str | None]]]:
        """Yield each row's line number and cells by column; the first of duplicate columns wins."""
        for line, row in zip(self.lines, self.rows, strict=True):
            cells: dict[str, str | None] = {}
            for column, cell in zip(self.columns, row, strict=True):
                cells.setdefault(column, cell)
            yield line, cells


def read_text_table(path: Path) -> TextTable:
    """Read a comma- or tab-separated table as text.

    The header decides which separator is used, not the file's name. A byte order mark and any line
    endings are accepted; empty rows are skipped.

    Raises
    ------
    ManifestError
        If the file is missing or not a table of UTF-8 text. Rows of the wrong length and duplicate
        or unnamed columns go to `TextTable.faults` instead.
    """
    records = _parse(path, _read_text(path))
    if not records:
        raise _refusal(
            path,
            "the table is empty",
            expected="a header line",
            remedy="Add a header with at least patient_id and path",
        )
    (_, header), *body = records
    names = tuple(unicodedata.normalize("NFC", _stripped(name)) for name in header)
    width = len(names)
    while width and not names[width - 1] and all(not "".join(row[width - 1 :]) for _, row in body):
        width -= 1  # spreadsheets add empty columns at the end
    names = names[:width]
    faults = [*_header_faults(names), *_length_faults(body, width)]
    rows = [(line, _fitted(row, width)) for line, row in body]
    return TextTable(
        columns=names,
        rows=tuple(row for _, row in rows),
        lines=tuple(line for line, _ in rows),
        faults=tuple(faults),
    )


def _refusal(
    path: Path,
    what: str,
    *,
    found: str | None = None,
    expected: str | None = None,
    remedy: str | None = None,
) -> ManifestError:
    return ManifestError(str(path), [Fault(what, found=found, expected=expected, remedy=remedy)])


def _read_text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise _refusal(path, "no such table", remedy="Check the path") from None
    except IsADirectoryError:
        raise _refusal(
            path, "a folder, not a table", remedy="Give the path of a .csv or .tsv file"
        ) from None
    except UnicodeDecodeError as error:
        kinds = [kind for mark, kind in _OTHER_KINDS if error.object.startswith(mark)]
        offending = f"byte {error.object[error.start]:#04x} at position {error.start}"
        raise _refusal(
            path,
            "the table is not UTF-8 text",
            found=kinds[0] if kinds else offending,
            remedy="Save it as CSV in UTF-8",
        ) from error
    except OSError as error:
        raise _refusal(
            path,
            "the table cannot be read",
            found=error.strerror,
            remedy="Check its permissions, and the disk or network share",
        ) from error
    if "\0" in text:
        kind = _OTHER_KINDS[0][1] if text.startswith("PK\x03\x04") else "a null byte"
        raise _refusal(path, "the table is not text", found=kind, remedy="Save it as CSV in UTF-8")
    return text


def _parse(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Return the non-empty records, each with the line number at which it begins."""
    header = next((line for line in text.splitlines() if line.strip(" ,;\t")), "")
    if ";" in header and "," not in header and "\t" not in header:
        raise _refusal(
            path,
            "the table is separated by semicolons",
            expected="commas or tabs",
            remedy="Export it with commas",
        )
    delimiter = "\t" if header.count("\t") > header.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records = []
    begins = 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append((begins, record))
            begins = reader.line_num + 1
    except csv.Error as error:
        fault = Fault(
            "the row cannot be read",
            row=begins,
            found=str(error),
            remedy="Look for an unclosed quotation mark",
        )
        raise ManifestError(str(path), [fault]) from error
    return records


def _header_faults(names: Sequence[str]) -> Iterator[Fault]:
    for at, name in enumerate(names):
        if not name:
            yield Fault(
                f"column {at + 1} has no name",
                row=1,
                remedy="Name it or delete it (tables saved with a row index have such a column)",
            )
        elif names.index(name) < at:
            yield Fault(
                "duplicate column",
                row=1,
                column=name,
                remedy="Delete or rename one of them",
            )


def _length_faults(body: Sequence[tuple[int, list[str]]], width: int) -> Iterator[Fault]:
    for line, row in body:
        if len(row) < width or any(cell.strip() for cell in row[width:]):
            yield Fault(
                "the row and the header have different numbers of cells",
                row=line,
                found=str(len(row)),
                expected=str(width),
                remedy="Quote cells that contain the separator",
            )


def _fitted(row: Sequence[str], width: int) -> Cells:
    cells = [clean_cell(cell) for cell in row[:width]]
    return (*cells, *[None] * (width - len(cells)))
