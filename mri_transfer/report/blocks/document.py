"""Report: what is shown, as a tree of sections and blocks, apart from how it looks.

The page (HTML), the print (PDF) and `report.json` are three readings of this one tree. Text is
plain text throughout: whoever renders it escapes it. In a text, two spaces never matter and there
is no markup; a link stands beside its text as a `Link`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

__all__ = [
    "Banner",
    "Block",
    "Bullets",
    "Confusion",
    "Facts",
    "Figure",
    "Folded",
    "Front",
    "Heading",
    "KeyFigure",
    "Link",
    "PatientPanel",
    "PatientPanels",
    "Picture",
    "Report",
    "Row",
    "Section",
    "Side",
    "SliceSheet",
    "Table",
    "Text",
]


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: its head, the cells, and a remark in small type below the head.

    What follows a line break in a cell stands below it in small type. A `quiet` row says nothing
    that counts and a `failed` one is a fault; the words of the row say so as well.
    """

    head: str
    cells: tuple[str, ...]
    note: str = ""
    state: Literal["", "quiet", "failed"] = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text; `wide` names the columns whose cells are words and not numbers.

    `name` is the stem of the file it is saved as; without one its place in the report gives it.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    wide: tuple[str, ...] = ()
    name: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link:
    """A link: to a section (`#id`) or to a file beside the report (a relative path)."""

    text: str
    target: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph.

    `finding` is what a section has found, `fault` what is wrong, `how` how to read the block
    above, `supply` what only the authors know, `missing` why something is not shown, `note` a
    remark in small type.
    """

    text: str
    role: Literal["body", "finding", "fault", "how", "supply", "missing", "note"] = "body"
    links: tuple[Link, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list of short texts; `commands` are lines for a terminal."""

    items: tuple[str, ...]
    role: Literal["body", "commands"] = "body"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading inside a section; `pill` is a warning in a word or two beside it."""

    text: str
    pill: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values, nested: mappings, lists and scalars of JSON."""

    title: str
    content: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing, with its numbers.

    Attributes
    ----------
    name : str
        Stem of its files, of letters, digits, `-` and `_`; different for each figure.
    svg : str
        One SVG element, whose `<title>` is the text alternative.
    caption : str
    numbers : tuple of Table
        What is drawn, as tables; at least one.
    wide : bool
        Whether it takes the width of the page; others take half.
    """

    name: str
    svg: str
    caption: str
    numbers: tuple[Table, ...]
    wide: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of pixels, as a PNG, WebP or JPEG file's bytes."""

    name: str
    content: bytes
    media_type: Literal["image/png", "image/webp", "image/jpeg"]
    alt: str
    caption: str
    numbers: tuple[Table, ...] = ()
    wide: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceSheet:
    """All slices of a scan on one sheet, row by row, with what was said of each.

    Attributes
    ----------
    picture : Picture
        `columns` slices a row, each square and equally large.
    columns, n_slices : int
    overlay : Picture or None
        Attribution in colour with transparency: the same grid of slices, usually of far fewer
        pixels; to be stretched over `picture`.
    limit : float
        What the strongest colour of the overlay stands for: above 0 orange, below 0 blue.
    z_mm : tuple of float, length n_slices
        World height of each slice.
    scores : tuple of float or None, length n_slices
        Score of each slice, 0 to 1.
    attributions : tuple of float, length n_slices, or empty
        Share of each slice in the patient's log-odds (signed: above 0 speaks for the positive
        label).
    """

    picture: Picture
    columns: int
    n_slices: int
    z_mm: tuple[float, ...]
    scores: tuple[float | None, ...]
    overlay: Picture | None = None
    limit: float = 0.0
    attributions: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusion:
    """Calls against the reference standard: a row per label, a column per call.

    `counts[i][j]` is the number of patients labelled `labels[i]` and called `labels[j]`;
    `shares[i][j]` their share of the row, from the mean over repeats before it was rounded.
    """

    caption: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatientPanel:
    """One patient: score with interval over repeats, slices, neighbours, quality.

    Attributes
    ----------
    patient_id, label : str
    score, score_low, score_high : float
        Mean score over repeats, and the lowest and the highest.
    called : str
        The label called in most repeats.
    threshold : str
        Score from which the positive label was called: `0.52`, or `0.47 to 0.58` where the folds
        that held the patient out have different ones.
    share_right : float
        Share of the repeats that called the patient's label, 0 to 1.
    covariates : mapping of str to str
        `age`, `sex`, `site` and others, as text; empty where unknown.
    quality : str
        Verdict: `pass`, `warn`, `fail`, or empty where not judged.
    quality_note : str
        Why, in words.
    blocks : tuple of Block
        What unfolds: the sheet of slices, scores by repeat, nearest training patients.
    """

    patient_id: str
    label: str
    score: float
    score_low: float
    score_high: float
    called: str
    threshold: str
    share_right: float
    covariates: Mapping[str, str]
    quality: str
    quality_note: str
    blocks: tuple[Block, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatientPanels:
    """Every patient, one panel each, to be searched, filtered and sorted on a screen.

    `labels` are the negative and the positive label. Print shows the table without the panels.
    """

    caption: str
    labels: tuple[str, str]
    panels: tuple[PatientPanel, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folded:
    """Blocks that a screen folds away under a title; print and JSON show them."""

    title: str
    blocks: tuple[Block, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """Blocks that stand side by side where there is room."""

    blocks: tuple[Block, ...]


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report; `id` is what links point to, `short` its name in the contents."""

    id: str
    title: str
    short: str
    blocks: tuple[Block, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A figure of the first screen: value and interval as text."""

    title: str
    value: str
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Banner:
    """A warning above everything: synthetic cohort, untrained trunk, failed checks."""

    role: Literal["synthetic", "random", "failed"]
    title: str
    text: str
    items: tuple[str, ...] = ()
    link: Link | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Front:
    """The first screen: what was studied, on whom, the answer, what to mind.

    Attributes
    ----------
    answer : str
        One sentence with its interval.
    comparison : str
        The model against the strongest baseline; empty where there is none.
    studied, on_whom : str
    key_figures : tuple of KeyFigure
    top_caveats : tuple of str
        The three that matter most, the gravest first.
    other_caveats : tuple of str
    banners : tuple of Banner
    """

    answer: str
    comparison: str
    studied: str
    on_whom: str
    key_figures: tuple[KeyFigure, ...]
    top_caveats: tuple[str, ...]
    other_caveats: tuple[str, ...]
    banners: tuple[Banner, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """A report: its first screen and its sections."""

    title: str
    confidence: float
    front: Front
    sections: tuple[Section, ...]
    made_by: str
