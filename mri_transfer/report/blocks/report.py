"""A whole report: its first screen and its sections.

The page (HTML) and the print (PDF) are renderings of this tree, and `report.json` is the tree.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mri_transfer.core.documents import Document, Part
from mri_transfer.report.blocks.document import Link, Section

__all__ = ["Banner", "Front", "KeyFigure", "Report"]

_SCHEMA: Literal["mri-transfer/report/2"] = "mri-transfer/report/2"


class KeyFigure(Part):
    """A figure of the first screen."""

    title: str
    """What it is."""
    value: str
    """Value as text."""
    note: str
    """Its interval or meaning."""


class Banner(Part):
    """A warning above everything."""

    role: Literal["synthetic", "random", "adapted", "failed"]
    """Synthetic cohort, untrained trunk, trunk adapted to the scans, failed checks."""
    title: str
    """The warning."""
    text: str
    """What it means."""
    items: tuple[str, ...] = ()
    """What it is about, one by one."""
    link: Link | None = None
    """Where to read on; null where nowhere."""


class Front(Part):
    """The first screen: what was studied, on whom, the answer, what to mind."""

    question: str = ""
    """The question; empty where the title says it."""
    answer: str
    """The answer in one sentence, with its interval."""
    comparison: str
    """The model against the strongest baseline; empty where there is none."""
    studied: str
    """What was studied, or, where there is a question, how it was tested."""
    on_whom: str
    """On whom."""
    key_figures: tuple[KeyFigure, ...]
    """The figures that count."""
    top_caveats: tuple[str, ...]
    """The three that matter most, the gravest first."""
    other_caveats: tuple[str, ...]
    """What else limits the answer."""
    banners: tuple[Banner, ...]
    """Warnings above everything."""


class Report(Document):
    """A report: everything that the page and the print show. Research use only.

    Drawings and pictures are named by their SHA-256.
    """

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/report/2"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this form."""
    title: str
    """Title of the report."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Level of the intervals, such as 0.95."""
    front: Front
    """The first screen."""
    sections: tuple[Section, ...]
    """The sections, in order."""
    made_by: str
    """Which software made it."""
