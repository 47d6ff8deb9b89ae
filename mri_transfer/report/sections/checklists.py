"""Section checklists: where this report answers the items of three reporting guidelines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mri_transfer.report.blocks.cells import Row, Table
from mri_transfer.report.blocks.document import Block, Folded, Link, Section, Text
from mri_transfer.report.checklists import (
    Answer,
    Checklist,
    State,
    answer_item,
    matching,
    read_checklists,
)
from mri_transfer.report.inputs import ReportInputs

__all__ = ["checklists_section"]

_HASH_LETTERS = 12
_COLUMNS = ("Item", "What it asks", "Where answered", "Artefact", "State")
#: How each state is counted in words, in the order of the summary.
_COUNTED: dict[State, str] = {
    "answered": "answered by this report",
    "in part": "in part, to be completed by the authors",
    "authors": "for the authors to supply",
    "not done": "not done, with the reason",
    "does not apply": "not applicable to this run",
    "not available": "not available in this run",
}
_ABOUT = (
    "Three guidelines say what a paper on such a model must report. Each item is asked here in "
    "our own words; the published lists are what counts. Nothing is ticked by hand: an item is "
    "answered only where the section it points to shows something of this run and the files named "
    "with it exist."
)
_HOW = (
    "In brackets stand the first 12 letters of a file's SHA-256; section Reproducibility has "
    "the whole. An answered item says where to look, not that what stands there is good."
)


def checklists_section(inputs: ReportInputs, sections: Sequence[Section]) -> Section:
    """Return the checklists, answered from the other sections.

    Parameters
    ----------
    inputs : ReportInputs
    sections : sequence of Section
        The other sections of the report, as they are shown.
    """
    by_id = {section.id: section for section in sections}
    blocks: list[Block] = [Text(text=_ABOUT)]
    for checklist in read_checklists():
        answers = [answer_item(item, inputs, by_id) for item in checklist.items]
        blocks += _blocks(checklist, answers)
    return Section(
        id="checklists",
        title="Reporting checklists",
        short="Checklists",
        blocks=(*blocks, Text(text=_HOW, role="how")),
    )


def _blocks(checklist: Checklist, answers: Sequence[Answer]) -> list[Block]:
    table = Table(
        caption=f"{checklist.name}: where each item is answered",
        columns=_COLUMNS,
        rows=tuple(map(_row, answers)),
        wide=_COLUMNS[1:],
        name=f"checklist_{checklist.id}",
    )
    source = f"{checklist.citation}. doi:{checklist.doi}"
    linked = {section.id: section for answer in answers for section in answer.sections}
    links = tuple(Link(text=one.short, target=f"#{one.id}") for one in linked.values())
    return [
        Text(text=_summary(checklist, answers), role="finding"),
        Folded(
            title=f"{checklist.name}, for {checklist.about}: every item",
            blocks=(
                table,
                Text(text="Sections that answer:", links=links),
                Text(text=f"Source: {source}", role="note"),
            ),
        ),
    ]


def _summary(checklist: Checklist, answers: Sequence[Answer]) -> str:
    counts = Counter(answer.state for answer in answers)
    parts = [f"{counts[state]} {words}" for state, words in _COUNTED.items() if counts[state]]
    many = len(answers) > checklist.last_item
    items = f"{checklist.last_item} items" + (f" in {len(answers)} parts" if many else "")
    return f"{checklist.name}, {items}: {'; '.join(parts)}."


def _row(answer: Answer) -> Row:
    item = answer.item
    where = ", ".join(section.short for section in answer.sections) or "\u2013"
    cells = (f"{item.topic}: {item.asks}", where, _artefacts(answer), _state(answer))
    return Row(item.number, cells, state="quiet" if answer.state == "does not apply" else "")


def _state(answer: Answer) -> str:
    """Return the state, and below it the reason or what the authors add."""
    for mark in ("; the authors add: ", ": "):
        state, found, rest = answer.words.partition(mark)
        if found:
            return f"{state}\n{found.lstrip('; ') if mark != ': ' else ''}{rest}"
    return answer.words


def _artefacts(answer: Answer) -> str:
    """Return files with the start of their hashes; of many of a kind the first."""
    cells = []
    for pattern in answer.item.artefacts:
        first, *others = matching(pattern, answer.artefacts) or [""]
        more = f" and {len(others)} more like it" if others else ""
        if first:
            cells.append(f"{first} ({answer.artefacts[first][:_HASH_LETTERS]}){more}")
    return "; ".join(cells) or "\u2013"
