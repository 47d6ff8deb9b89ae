"""What a report shows, as a tree of sections and blocks, apart from how it looks.

Text is plain text throughout: whoever renders it escapes it. In a text, two spaces never matter and
there is no markup; a link stands beside its text as a `Link`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from xml.sax.saxutils import unescape

from pydantic import BeforeValidator, Field, JsonValue, model_validator
from pydantic.dataclasses import dataclass
from typing_extensions import TypeAliasType

from mri_transfer.core.documents import Part, Share
from mri_transfer.core.specs import STRICT

__all__ = [
    "Block",
    "Bullets",
    "Confusion",
    "Facts",
    "Figure",
    "Folded",
    "Heading",
    "Layer",
    "Link",
    "PatientPanel",
    "PatientPanels",
    "Picture",
    "Row",
    "Section",
    "Side",
    "SliceSheet",
    "Table",
    "Text",
]

_TITLE = re.compile(r"<title\b[^>]*>(.*?)</title>", re.DOTALL)

#: Set from the content itself; a content that is not in the file is known by it.
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", validate_default=True)]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _as_json(value: Any) -> Any:
    """Return settings as values of JSON; a number that is not finite becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, config=STRICT)
class Row:
    """A row of a table."""

    head: str
    """Head of the row, below the first column."""
    cells: tuple[str, ...]
    """A cell for every further column; what follows a line break is in small type."""
    note: str = ""
    """A remark below the head, in small type; empty without one."""
    state: Literal["", "quiet", "failed"] = ""
    """`quiet`: says nothing that counts; `failed`: a fault. The words of the row say so too."""


class Table(Part):
    """A table of text."""

    type: Literal["table"] = "table"
    caption: str
    """What the table shows."""
    columns: tuple[str, ...]
    """Names of the columns, that of the row heads first."""
    rows: tuple[Row, ...]
    """Its rows."""
    wide: tuple[str, ...] = ()
    """Columns whose cells are words and not numbers."""
    name: str = ""
    """Stem of the file it is saved as; where empty, its place in the report gives it."""


class Link(Part):
    """A link to a section or to a file beside the report."""

    text: str
    """What is clicked."""
    target: str
    """`#` and the id of a section, or the path of a file relative to the report's folder."""


class Text(Part):
    """A paragraph."""

    type: Literal["text"] = "text"
    text: str
    """Plain text."""
    role: Literal["body", "finding", "fault", "how", "supply", "missing", "note"] = "body"
    """What the paragraph is for: `finding`, what a section has found; `fault`, what is wrong;
    `how`, how to read the block above; `supply`, what only the authors know; `missing`, why
    something is not shown; `note`, a remark in small type."""
    links: tuple[Link, ...] = ()
    """Links beside the text."""


class Bullets(Part):
    """A list of short texts."""

    type: Literal["bullets"] = "bullets"
    items: tuple[str, ...]
    """The texts."""
    role: Literal["body", "commands"] = "body"
    """`commands`: lines for a terminal."""


class Heading(Part):
    """A heading inside a section."""

    type: Literal["heading"] = "heading"
    text: str
    """The heading."""
    pill: str = ""
    """A warning in a word or two beside it; may be empty."""


class Facts(Part):
    """Names and values, nested freely."""

    type: Literal["facts"] = "facts"
    title: str
    """What they are."""
    content: Annotated[Mapping[str, JsonValue], BeforeValidator(_as_json)]
    """Names and values; a number that is not finite is the text `nan`, `inf` or `-inf`."""


class Figure(Part):
    """A drawing, with its numbers; the drawing itself is in the page."""

    type: Literal["figure"] = "figure"
    name: str
    """Stem of its files, of letters, digits, `-` and `_`; different for each figure."""
    svg: str = Field(default="", exclude=True)
    """One SVG element, whose `<title>` is the text alternative; not in the file."""
    caption: str
    """What it shows."""
    numbers: tuple[Table, ...]
    """What is drawn, as tables; at least one."""
    wide: bool = False
    """Whether it takes the width of the page; others take half."""
    alt: str = ""
    """Text alternative."""
    svg_sha256: _Sha256 = ""
    """SHA-256 of the SVG element, in UTF-8."""

    @model_validator(mode="before")
    @classmethod
    def _described(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "svg" not in values:
            return values
        svg: str = values["svg"]
        title = _TITLE.search(svg)
        words = unescape(title[1], {"&quot;": '"', "&#39;": "'"}) if title else ""
        return {**values, "alt": " ".join(words.split()), "svg_sha256": _sha256(svg.encode())}


class Picture(Part):
    """A picture of pixels; its bytes are in the page."""

    type: Literal["picture"] = "picture"
    name: str
    """Stem of its file."""
    content: bytes = Field(default=b"", exclude=True)
    """The file's bytes; not in the file of the report."""
    media_type: Literal["image/png", "image/webp", "image/jpeg"]
    """Kind of file."""
    alt: str
    """Text alternative."""
    caption: str
    """What it shows."""
    numbers: tuple[Table, ...] = ()
    """What it shows, as tables."""
    wide: bool = False
    """Whether it takes the width of the page."""
    sha256: _Sha256 = ""
    """SHA-256 of the file's bytes."""

    @model_validator(mode="before")
    @classmethod
    def _identified(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "content" not in values:
            return values
        return {**values, "sha256": _sha256(values["content"])}


class SliceSheet(Part):
    """All slices of a scan on one sheet, row by row, with what was said of each."""

    type: Literal["slice_sheet"] = "slice_sheet"
    picture: Picture
    """The slices, each square and equally large."""
    columns: Annotated[int, Field(ge=1)]
    """Slices a row of the sheet."""
    n_slices: Annotated[int, Field(ge=1)]
    """Slices of the scan."""
    z_mm: tuple[float, ...]
    """World height of each slice, mm."""
    scores: tuple[Share | None, ...]
    """Score of each slice, 0 to 1; null where there is none."""
    overlay: Picture | None = None
    """Attribution in colour with transparency, to be stretched over the picture: the same grid of
    slices, usually of far fewer pixels; null where there is none."""
    limit: Annotated[float, Field(ge=0)] = 0.0
    """Log-odds that the strongest colour of the overlay stands for: above 0 orange, below 0
    blue."""
    attributions: tuple[float, ...] = ()
    """Signed share of each slice in the patient's log-odds, above 0 for the positive label; empty
    where there is no attribution."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        lengths = (len(self.z_mm), len(self.scores), len(self.attributions) or self.n_slices)
        if set(lengths) != {self.n_slices}:
            raise ValueError(
                f"heights, scores and shares of {self.picture.name} do not fit together: there "
                f"are {', '.join(map(str, lengths))} of them, and {self.n_slices} slices"
            )
        return self


class Confusion(Part):
    """Calls against the reference standard: a row per label, a column per call."""

    type: Literal["confusion"] = "confusion"
    caption: str
    """What is counted."""
    labels: tuple[str, ...]
    """Labels, of the rows (reference standard) as of the columns (calls)."""
    counts: tuple[tuple[int, ...], ...]
    """Patients: the mean over repeats, rounded so that a row adds up."""
    shares: tuple[tuple[float, ...], ...]
    """Share of the row, from the mean over repeats before rounding."""


class PatientPanel(Part):
    """One patient: score with interval over repeats, slices, neighbours, quality."""

    patient_id: str
    """The patient, as in the manifest or as a pseudonym."""
    label: str
    """Reference standard."""
    score: Share
    """Mean score over repeats."""
    score_low: Share
    """Lowest score over repeats."""
    score_high: Share
    """Highest score over repeats."""
    called: str
    """The label called in most repeats."""
    threshold: str
    """Score from which the positive label was called: `0.52`, or `0.47 to 0.58` where the folds
    that held the patient out have different ones; empty where unknown."""
    share_right: Share
    """Share of the repeats that called the patient's label."""
    ventricles: Share | None
    """Share of people of the same age and sex without the positive label whose ventricles are
    smaller; null where it was not measured, or age or sex is unknown."""
    covariates: Mapping[str, str]
    """Covariates as text; empty where unknown."""
    quality: str
    """Verdict: `pass`, `warn`, `fail`, or empty where not judged."""
    quality_note: str
    """Why."""
    blocks: _Blocks
    """What unfolds below the patient: sheets of slices, scores by repeat, nearest training
    patients."""


class PatientPanels(Part):
    """Every patient, one panel each, to be searched, filtered and sorted on a screen."""

    type: Literal["patient_panels"] = "patient_panels"
    caption: str
    """What the panels are."""
    labels: tuple[str, str]
    """The negative and the positive label."""
    panels: tuple[PatientPanel, ...]
    """The patients. Print shows the table without the panels."""


class Folded(Part):
    """Blocks that a screen folds away; print and JSON show them."""

    type: Literal["folded"] = "folded"
    title: str
    """Title of the fold."""
    blocks: _Blocks
    """The blocks."""


class Side(Part):
    """Blocks that stand side by side where there is room."""

    type: Literal["side"] = "side"
    blocks: _Blocks
    """The blocks."""


Block = (
    Text
    | Bullets
    | Heading
    | Facts
    | Table
    | Figure
    | Picture
    | SliceSheet
    | Confusion
    | PatientPanels
    | Folded
    | Side
)
AnyBlock = TypeAliasType(
    "AnyBlock",
    Annotated[
        Block,
        Field(discriminator="type", description="What a section is made of; `type` says which."),
    ],
)
_Blocks = tuple[AnyBlock, ...]


#: The parts of a report, in order: for everybody, for readers of a study, for those who check it.
Layer = Literal["summary", "results", "appendix"]


class Section(Part):
    """A part of the report."""

    id: Annotated[str, Field(pattern="^[a-z][a-z0-9-]*$")]
    """What links point to."""
    title: str
    """Its title."""
    short: str
    """Its name in the contents."""
    blocks: _Blocks
    """What it is made of."""
    layer: Layer = "results"
    """Part of the report: clinical summary, results, or technical appendix, which the page
    folds."""
