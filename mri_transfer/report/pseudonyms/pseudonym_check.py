"""What a report under pseudonyms must not hold: names, and links to pages that show them."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mri_transfer.core.documents import Part
from mri_transfer.errors import RunFolderError
from mri_transfer.report.blocks.document import Link, Row
from mri_transfer.report.blocks.report import Report
from mri_transfer.report.pseudonyms.pseudonym_names import Pseudonyms

__all__ = ["check_report", "without_pages"]


def check_report(report: Report, pseudonyms: Pseudonyms) -> None:
    """Refuse a report in which a name of the cohort is left.

    Names that are words or plain numbers cannot be told from a report's own text and are not
    sought.

    Raises
    ------
    RunFolderError
        If there is one; it says where.
    """
    for section in (report.front, *report.sections):
        for text in _texts(section):
            left = pseudonyms.left_in(html.unescape(text))
            if left:
                raise RunFolderError(
                    "a name of the cohort is left in the report; nothing is written",
                    where=f"section {getattr(section, 'id', 'front')}",
                    found=f"{left[0]} in {text[:80]!r}",
                    remedy="Rename this patient or scan in the manifest",
                )


def without_pages(report: Report) -> Report:
    """Return a report without links to other pages of the run, which show the real names."""
    kept: Report = _without_pages(report)
    return kept


def _without_pages(part: Any) -> Any:
    if _leaves(part):
        return None
    if isinstance(part, Part):
        return part.model_copy(update={name: _without_pages(value) for name, value in part})
    if isinstance(part, tuple):
        return tuple(_without_pages(inner) for inner in part if not _leaves(inner))
    return part


def _leaves(part: Any) -> bool:
    return isinstance(part, Link) and not part.target.startswith("#")


def _texts(part: Any) -> Iterator[str]:
    """Yield every text of a part of a report, keys included."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for key, value in part.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(part, Sequence) and not isinstance(part, bytes):
        for value in part:
            yield from _texts(value)
    elif isinstance(part, Part | Row):
        yield from _texts(list(vars(part).values()))
