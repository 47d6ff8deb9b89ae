"""What a reader takes away from a page: tables as CSV and drawings as SVG, inside its links."""

from __future__ import annotations

import base64
import csv
import io
import re
import unicodedata

from mri_transfer.report.blocks.cells import percent
from mri_transfer.report.blocks.document import Confusion, Figure, Row, Table

__all__ = [
    "FileNames",
    "confusion_table",
    "csv_bytes",
    "data_source",
    "resolve_colours",
    "standalone_svg",
]

#: What is set for the eye, and what a program reads in its place.
_PLAIN = str.maketrans({"\u2212": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\n": " "})
#: A spreadsheet takes a cell that starts so for a formula and runs it.
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?\d[\d.,]*(?: to [+-]?\d[\d.,]*)?(?: ?%)?(?:; .*)?")
_VARIABLE = re.compile(r"var\(\s*--[\w-]+\s*(?:,\s*((?:[^()]|\([^()]*\))*))?\)")


class FileNames:
    """Gives every file of a page a name of its own that is safe on every system."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def give(self, stem: str, suffix: str) -> str:
        """Return `stem.suffix`, its stem made safe, with a number where the name is taken.

        Parameters
        ----------
        stem : str
            Any text.
        suffix : str
            Without the dot.

        Returns
        -------
        str
            Of ASCII letters, digits, `-`, `_` and one dot, at most 80 characters. No two names of
            one `FileNames` are the same, not even where file names ignore case.
        """
        ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
        safe = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_stem).strip("-_")[:64].lower() or "file"
        name, number = f"{safe}.{suffix}", 1
        while name in self._given:
            number += 1
            name = f"{safe}-{number}.{suffix}"
        self._given.add(name)
        return name


def csv_bytes(table: Table) -> bytes:
    """Return a table as a CSV file (RFC 4180, UTF-8).

    Parameters
    ----------
    table : Table

    Returns
    -------
    bytes
        The head line, then a line a row. Minus signs and spaces are plain. What stands below a
        value in its cell follows it after `; `. Remarks below the heads of rows become a last
        column. A text that a spreadsheet would run as a formula starts with an apostrophe.
    """
    noted = any(row.note for row in table.rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow([_plain(name) for name in (*table.columns, *(["remark"] if noted else []))])
    for row in table.rows:
        cells = (row.head, *row.cells, *([row.note] if noted else []))
        writer.writerow([_plain(cell) for cell in cells])
    return stream.getvalue().encode("utf-8", "replace")


def _plain(text: str) -> str:
    value, _, remark = text.partition("\n")
    joined = f"{value.rstrip(':;')}{': ' if value.endswith(':') else '; '}{remark}"
    text = (joined if remark else value).translate(_PLAIN).strip()
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def confusion_table(confusion: Confusion) -> Table:
    """Return calls against the reference standard as a table of text.

    Parameters
    ----------
    confusion : Confusion

    Returns
    -------
    Table
        A row per label, a column per call with the share of the row below the number, and the sum.
    """
    rows = []
    for label, line, shares in zip(
        confusion.labels, confusion.counts, confusion.shares, strict=True
    ):
        cells = [
            f"{n}\n{percent(share)}" if any(line) else str(n)
            for n, share in zip(line, shares, strict=True)
        ]
        rows.append(Row(label, (*cells, str(sum(line)))))
    columns = ("Reference standard", *(f"called {label}" for label in confusion.labels), "all")
    return Table(caption=confusion.caption, columns=columns, rows=tuple(rows))


def resolve_colours(svg: str) -> str:
    """Return an SVG whose colours are colours: each CSS variable becomes its fallback, or black.

    Parameters
    ----------
    svg : str
        With colours such as `var(--ink, #1f2a37)`.

    Returns
    -------
    str
    """
    return _VARIABLE.sub(lambda match: (match[1] or "currentColor").strip(), svg)


def standalone_svg(figure: Figure) -> bytes:
    """Return the drawing of a figure as an SVG file of its own.

    Parameters
    ----------
    figure : Figure

    Returns
    -------
    bytes
        UTF-8, with its size in points, colours resolved, on white.
    """
    svg = resolve_colours(figure.svg).strip()
    found = re.search(r'viewBox="\s*([-\d.e]+)[\s,]+([-\d.e]+)[\s,]+([\d.e]+)[\s,]+([\d.e]+)', svg)
    if found is not None:
        x, y, width, height = found.groups()
        root, rest = svg.split(">", 1)
        root = re.sub(r'\s(?:width|height)="[^"]*"', "", root)
        paper = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="#ffffff"/>'
        # A title is read as the text alternative only as the first child.
        titled = re.match(r"\s*<title\b.*?</title>", rest, re.DOTALL)
        end = titled.end() if titled else 0
        size = f' width="{width}pt" height="{height}pt"'
        svg = f"{root}{size}>{rest[:end]}\n{paper}{rest[end:]}"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{svg}\n'.encode()


def data_source(content: bytes, media_type: str) -> str:
    """Return a file as an address inside the page."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
