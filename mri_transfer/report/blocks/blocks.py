"""How a section is put together: short names for its blocks, and none where there is nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from mri_transfer.report.blocks.document import (
    Block,
    Bullets,
    Figure,
    Folded,
    Section,
    Side,
    Table,
    Text,
)

__all__ = [
    "beside",
    "bullets",
    "figure",
    "findings",
    "folded",
    "how",
    "joined",
    "missing",
    "section_of",
    "shown_or_missing",
]

Part = Block | None | Iterable[Block | None]


def joined(*parts: Part) -> tuple[Block, ...]:
    """Return blocks and sequences of blocks as one sequence, without what is None."""
    found: list[Block] = []
    for part in parts:
        if part is None:
            continue
        if isinstance(part, Block):
            found.append(part)
        else:
            found += [block for block in part if block is not None]
    return tuple(found)


def section_of(name: str, title: str, *parts: Part, short: str = "") -> Section:
    """Return a section of that id, title and name in the contents, which may be the title."""
    return Section(id=name, title=title, short=short or title, blocks=joined(*parts))


def shown_or_missing(
    content: Part, reason: str, *, before: Part = None, after: Part = None
) -> tuple[Block, ...]:
    """Return content with what introduces and explains it; where there is none, the reason."""
    blocks = joined(content)
    return joined(before, blocks, after) if blocks else (missing(reason),)


def how(text: str) -> Text:
    """Return how to read the block above."""
    return Text(text=text, role="how")


def missing(text: str) -> Text:
    """Return why something is not shown."""
    return Text(text=text, role="missing")


def findings(
    texts: Iterable[str], role: Literal["finding", "fault"] = "finding"
) -> tuple[Text, ...]:
    """Return what a section has found, a paragraph each."""
    return tuple(Text(text=text, role=role) for text in texts)


def bullets(texts: Iterable[str]) -> Bullets | None:
    """Return a list; None where it would be empty."""
    items = tuple(texts)
    return Bullets(items=items) if items else None


def folded(title: str, *parts: Part) -> Folded | None:
    """Return blocks that a screen folds away; None where there are none."""
    blocks = joined(*parts)
    return Folded(title=title, blocks=blocks) if blocks else None


def beside(*parts: Part) -> Block | None:
    """Return blocks side by side; a single one stands alone, and none is None."""
    blocks = joined(*parts)
    if len(blocks) < 2:
        return blocks[0] if blocks else None
    return Side(blocks=blocks)


def figure(name: str, svg: str, caption: str, *numbers: Table | None, wide: bool = False) -> Figure:
    """Return a drawing with the tables of what is drawn; those that are None are left out."""
    tables = tuple(table for table in numbers if table is not None)
    return Figure(name=name, svg=svg, caption=caption, numbers=tables, wide=wide)
