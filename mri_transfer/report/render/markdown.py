"""Markdown in which text is text: whatever comes from a manifest can format nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from mri_transfer.report.blocks.document import Table
from mri_transfer.report.render.pages import environment

__all__ = ["Markdown", "escaped", "markdown_table", "render_markdown"]

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


def markdown_table(table: Table | None) -> Markdown:
    """Return a table of a report as a table of Markdown, its caption above; nothing for None.

    What stands below a line break in a cell follows behind a semicolon; remarks below the heads
    of rows are left out.
    """
    if table is None:
        return Markdown("")
    rule = "|" + " --- |" * len(table.columns)
    lines = [f"**{escaped(table.caption)}**", "", _line(table.columns), rule]
    lines += [_line((row.head, *row.cells)) for row in table.rows]
    return Markdown("\n".join(lines))


def render_markdown(template: str, **values: Any) -> str:
    """Return a page of Markdown from a template; every value is escaped unless it is `Markdown`."""
    return environment(finalize=escaped).get_template(template).render(**values)


def _line(cells: Iterable[str]) -> str:
    texts = (cell.replace(":\n", ": ").replace("\n", "; ") for cell in cells)
    return "| " + " | ".join(escaped(text) or "\u2013" for text in texts) + " |"
