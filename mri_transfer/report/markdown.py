"""Markdown in which text is text: whatever comes from a manifest can format nothing."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_transfer.report.document import Table

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Markdown", "escaped", "markdown_table", "render_markdown"]

_TEMPLATES = Path(__file__).with_name("templates")
# What may begin or end a mark anywhere in a line. CommonMark (section 2.4) lets a backslash stand
# before any ASCII punctuation.
_MARKS = re.compile(r"[\\`*_\[\]<>|#~&$]")
# What opens a list or draws a rule at the start of a line.
_OPENING = re.compile(r"^(?:[-+](?=\s|$|-)|=|\d{1,9}(?=[.)](?:\s|$)))")
# Addresses that several readers of Markdown turn into links without being asked.
_ADDRESS = re.compile(r"(?=://)|(?<=\bwww)(?=\.)|(?=@)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+|\s+")


class Markdown(str):
    """Text that is Markdown already, so that nobody escapes it."""

    __slots__ = ()


def escaped(text: object) -> Markdown:
    """Return text as one line of Markdown that shows exactly it.

    Parameters
    ----------
    text : object
        Its `str` is shown. Line breaks and control characters become blanks.
    """
    if isinstance(text, Markdown):
        return text
    line = _CONTROL.sub(" ", str(text)).strip()
    line = _MARKS.sub(lambda found: "\\" + found.group(), line)
    opening = _OPENING.match(line)
    if opening:
        # A digit cannot be escaped; the full stop or bracket behind it can.
        place = opening.end() if opening.group().isdigit() else 0
        line = f"{line[:place]}\\{line[place:]}"
    return Markdown(_ADDRESS.sub(r"\\", line))


def markdown_table(table: Table) -> Markdown:
    """Return a table of a report as a table of Markdown, its caption above.

    What stands below a line break in a cell follows behind a semicolon; remarks below the heads
    of rows are left out.
    """
    rule = "|" + " --- |" * len(table.columns)
    lines = [f"**{escaped(table.caption)}**", "", _line(table.columns), rule]
    lines += [_line((row.head, *row.cells)) for row in table.rows]
    return Markdown("\n".join(lines))


def render_markdown(template: str, **values: Any) -> str:
    """Return a page of Markdown from a template; every value is escaped unless it is `Markdown`."""
    return _environment().get_template(template).render(**values)


def _line(cells: Iterable[str]) -> str:
    texts = (cell.replace(":\n", ": ").replace("\n", "; ") for cell in cells)
    return "| " + " | ".join(escaped(text) or "\u2013" for text in texts) + " |"


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        # The pages' escaping is for HTML; here `finalize` sees each value that is printed.
        autoescape=False,
        finalize=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
