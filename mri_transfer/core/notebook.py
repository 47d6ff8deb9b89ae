"""What objects look like in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping

__all__ = ["html_table"]


def html_table(rows: Mapping[str, object], *, caption: str) -> str:
    """Return a table with a heading and a value per row; everything is escaped.

    Parameters
    ----------
    rows : mapping of str to object
        Values are shown as `str` gives them.
    caption : str
    """
    cells = "".join(
        f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return (
        f"<table><caption style='text-align:left'>{html.escape(caption)}</caption>"
        f"<tbody>{cells}</tbody></table>"
    )
