"""TextTable: a CSV or TSV file as text, with the line of every row, before anything is believed."""

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

#: Letters that show nothing and come along when text is copied from other programs.
_INVISIBLE = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff"

#: How files begin that people take for a table of text, and what they are.
_OTHER_KINDS = (
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of the old kind"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
    (b"\x1f\x8b", "a file compressed with gzip"),
)

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

Cells = tuple[str | None, ...]


def clean_cell(text: str) -> str | None:
    """Return a cell without surrounding blanks, or None for one that means "missing".

    Blanks include what cannot be seen, such as marks of direction that come along with a path
    copied from a dialogue. Missing are the empty cell and ``n/a``, ``NA``, ``nan`` in any case.
    """
    stripped = _stripped(text)
    return None if stripped.casefold() in _MISSING else stripped


def _stripped(text: str) -> str:
    before = None
    while text != before:
        before, text = text, text.strip().strip(_INVISIBLE)
    return text


def parse_number(text: str) -> float | None:
    """Return the finite number that a cell spells with a decimal point, or None."""
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
        Names in the file's order, repeats included.
    rows : tuple of tuple
        One cell per column; None where the value is missing.
    lines : tuple of int or None
        The line of its file that each row begins on (the header is line 1), if it has one.
    faults : tuple of Fault
        What was wrong with the table's form, to be reported together with what is wrong inside.
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
        """Build a table from one mapping a row; keys that a row lacks are missing cells."""
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
        """Yield each row's line and its cells by column; of repeated columns the first counts."""
        for line, row in zip(self.lines, self.rows, strict=True):
            cells: dict[str, str | None] = {}
            for column, cell in zip(self.columns, row, strict=True):
                cells.setdefault(column, cell)
            yield line, cells


def read_text_table(path: Path) -> TextTable:
    """Read a comma- or tab-separated table as text.

    Which of the two separates is read off the header, not off the file's name. A byte order mark
    and any line ends are accepted; rows without any content are skipped.

    Raises
    ------
    ManifestError
        If there is no such file or it is not a table of UTF-8 text. Rows of the wrong length,
        repeated and unnamed columns are noted in `TextTable.faults` instead.
    """
    records = _parse(path, _read_text(path))
    if not records:
        raise _refusal(
            path,
            "the table is empty",
            expected="a header line",
            remedy="Give it a header with at least patient_id and path",
        )
    (_, header), *body = records
    names = tuple(unicodedata.normalize("NFC", _stripped(name)) for name in header)
    width = len(names)
    while width and not names[width - 1] and all(not "".join(row[width - 1 :]) for _, row in body):
        width -= 1  # spreadsheets write empty columns behind the last one
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
        raise _refusal(path, "there is no such table", remedy="Check the path") from None
    except IsADirectoryError:
        raise _refusal(path, "a folder, not a table", remedy="Name a .csv or .tsv file") from None
    except UnicodeDecodeError as error:
        kinds = [kind for mark, kind in _OTHER_KINDS if error.object.startswith(mark)]
        place = f"byte {error.object[error.start]:#04x} at position {error.start}"
        raise _refusal(
            path,
            "the table is not UTF-8 text",
            found=kinds[0] if kinds else place,
            remedy="Save it as CSV, encoding UTF-8",
        ) from error
    except OSError as error:
        raise _refusal(
            path,
            "the table cannot be read",
            found=error.strerror,
            remedy="Check its permissions, and the disk or share that it lies on",
        ) from error
    if "\0" in text:
        kind = _OTHER_KINDS[0][1] if text.startswith("PK\x03\x04") else "a byte of zero"
        raise _refusal(
            path, "the table is not text", found=kind, remedy="Save it as CSV, encoding UTF-8"
        )
    return text


def _parse(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Return the non-empty records, each with the line it begins on."""
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
            remedy="Look for a quotation mark that is opened and never closed",
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
                "the column appears twice",
                row=1,
                column=name,
                remedy="Delete or rename one of the two",
            )


def _length_faults(body: Sequence[tuple[int, list[str]]], width: int) -> Iterator[Fault]:
    for line, row in body:
        if len(row) < width or any(cell.strip() for cell in row[width:]):
            yield Fault(
                "the row does not have as many cells as the header",
                row=line,
                found=str(len(row)),
                expected=str(width),
                remedy="Put cells that contain the separator in quotation marks",
            )


def _fitted(row: Sequence[str], width: int) -> Cells:
    cells = [clean_cell(cell) for cell in row[:width]]
    return (*cells, *[None] * (width - len(cells)))
