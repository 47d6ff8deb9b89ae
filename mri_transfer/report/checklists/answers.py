"""How a report answers an item: worked out from sections and artefacts, never ticked by hand."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from mri_transfer.report.blocks.document import Block, Folded, Heading, Section, Side, Text
from mri_transfer.report.checklists.conditions import CONDITIONS
from mri_transfer.report.checklists.reader import Item
from mri_transfer.report.inputs import ReportInputs

__all__ = ["Answer", "State", "answer_item", "has_content", "matching"]

State = Literal["answered", "in part", "authors", "not done", "does not apply", "not available"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """How one item is answered.

    Attributes
    ----------
    item : Item
    state : str
        `answered` by the report; `in part`: the authors add to it; `authors`: only they can;
        `not done`, `does not apply`; `not available`: what would answer it is not in this run.
    words : str
        The state with its reason.
    sections : tuple of Section
        Where the answer stands, or would stand.
    artefacts : mapping of str to str
        SHA-256 of the files that hold it, by path.
    """

    item: Item
    state: State
    words: str
    sections: tuple[Section, ...] = ()
    artefacts: Mapping[str, str] = dataclasses.field(default_factory=dict)


def answer_item(item: Item, inputs: ReportInputs, sections: Mapping[str, Section]) -> Answer:
    """Work out how an item is answered.

    Parameters
    ----------
    item : Item
    inputs : ReportInputs
    sections : mapping of str to Section
        The sections of the report by id.
    """
    shown = tuple(sections[name] for name in item.sections if name in sections)
    if item.not_done:
        return Answer(
            item=item, state="not done", words=f"not done: {item.not_done}", sections=shown
        )
    if not item.sections:
        return Answer(
            item=item, state="authors", words=f"for the authors to supply: {item.authors}"
        )
    for name in item.requires:
        if reason := CONDITIONS[name](inputs):
            state: State = "not done" if reason.startswith("not done") else "does not apply"
            return Answer(item=item, state=state, words=reason)
    if lacking := _lacking(item, inputs, sections):
        words = f"not available: {'; '.join(lacking)}. For the authors to supply"
        return Answer(item=item, state="not available", words=words)
    found = {
        path: inputs.artefacts[path]
        for pattern in item.artefacts
        for path in matching(pattern, inputs.artefacts)
    }
    words = f"in part; the authors add: {item.authors}" if item.authors else "answered"
    return Answer(
        item=item,
        state="in part" if item.authors else "answered",
        words=words,
        sections=shown,
        artefacts=found,
    )


def has_content(blocks: Iterable[Block]) -> bool:
    """Whether blocks show anything of the run, and not only why something is not shown."""
    found = list(_flat(blocks))
    texts = {block.role for block in found if isinstance(block, Text)}
    if any(not isinstance(block, Text) for block in found) or texts & {"finding", "fault"}:
        return True
    # Plain text beside a reason for showing nothing only introduces it.
    return "body" in texts and "missing" not in texts


def _flat(blocks: Iterable[Block]) -> Iterator[Block]:
    """Return every block that can show something, those inside others too."""
    for block in blocks:
        if isinstance(block, Folded | Side):
            yield from _flat(block.blocks)
        elif not isinstance(block, Heading):
            yield block


def _lacking(item: Item, inputs: ReportInputs, sections: Mapping[str, Section]) -> list[str]:
    """Say which sections and artefacts are not there."""
    empty = [
        f"section {sections[name].title if name in sections else name} shows nothing"
        for name in item.sections
        if name not in sections or not has_content(sections[name].blocks)
    ]
    absent = [
        f"{pattern} is not among the files of the run"
        for pattern in item.artefacts
        if not matching(pattern, inputs.artefacts)
    ]
    return empty + absent


def matching(pattern: str, paths: Iterable[str]) -> list[str]:
    """Return the paths that a pattern of an item stands for, sorted."""
    return sorted(path for path in paths if fnmatch.fnmatchcase(path, pattern))
