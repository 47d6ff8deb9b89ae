"""The model as the data flow through it: slice, maps, features, head, score."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from math import log2
from typing import Literal

from mri_transfer.report.figures.diagram import Canvas, Look

__all__ = ["DrawnBlock", "DrawnStep", "draw_architecture"]

_WIDTH = 1000.0
_GAP = 22.0
_MARGIN = 4.0
#: Largest height and width of a block's maps as they are drawn.
_TALL, _WIDE = 150.0, 96.0
_LEGEND: tuple[tuple[Look, str], ...] = (
    ("frozen", "hatched: frozen, the same in every fold"),
    ("trained", "thick edge: trained or fitted on the training patients of each fold"),
    ("plain", "plain: fixed arithmetic, nothing to learn"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnBlock:
    """A stack of feature maps, drawn by its size.

    Attributes
    ----------
    lines : tuple of str
        What stands below it; the first is the head.
    edge : int
        Edge of its maps in pixels.
    channels : int
    n_layers : int
        Convolutions, drawn as slabs side by side; 1 for a plain picture.
    look : {"plain", "frozen", "trained"}
    """

    lines: tuple[str, ...]
    edge: int
    channels: int
    n_layers: int = 1
    look: Literal["plain", "frozen", "trained"] = "frozen"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnStep:
    """A step after the maps, drawn as a box of text."""

    lines: tuple[str, ...]
    look: Literal["plain", "trained"] = "plain"


def draw_architecture(
    blocks: Sequence[DrawnBlock], steps: Sequence[DrawnStep], *, title: str
) -> str:
    """Draw the model as one SVG element.

    Parameters
    ----------
    blocks : sequence of DrawnBlock
        From the slice on, in one row. Heights follow the logarithm of the maps' edge, widths that
        of their channels.
    steps : sequence of DrawnStep
        What becomes of the last maps, in a second row.
    title : str
        The same in words: the text alternative.

    Returns
    -------
    str
        `<svg role="img">`; the same bytes for the same input.
    """
    canvas = Canvas(name="architecture", width=_WIDTH, size=13)
    y, end = _draw_blocks(canvas, blocks)
    y = _draw_steps(canvas, y, steps, start=end)
    y = _draw_legend(canvas, y + 14)
    return canvas.svg(title, y)


def _draw_blocks(canvas: Canvas, blocks: Sequence[DrawnBlock]) -> tuple[float, float]:
    """Draw the first row; return where it ends below, and at the right of its last block."""
    # The way down to the second row runs at the right of everything.
    column = (_WIDTH - 3 * _MARGIN - len(blocks) * _GAP) / len(blocks)
    largest = max(log2(max(block.edge, 2)) for block in blocks)
    deepest = max(log2(block.channels + 1) for block in blocks)
    middle = _MARGIN + _TALL / 2
    below = _MARGIN + _TALL + 8
    ends: list[tuple[float, float]] = []
    for i, block in enumerate(blocks):
        centre = _MARGIN + i * (column + _GAP) + column / 2
        height = _TALL * log2(max(block.edge, 2)) / largest
        width = max(9.0, _WIDE * log2(block.channels + 1) / deepest)
        slab = width / block.n_layers
        for k in range(block.n_layers):
            x = centre - width / 2 + k * slab
            canvas.frame(x, middle - height / 2, slab - 2, height, look=block.look)
        ends.append((centre - width / 2, centre + width / 2 - 2))
        _draw_lines(canvas, centre, below, column + _GAP + 6, block.lines)
    for (_, start), (end, _) in itertools.pairwise(ends):
        canvas.line([(start + 3, middle), (end - 3, middle)])
    height = max(canvas.box_height(block.lines, column + _GAP + 6) for block in blocks)
    return below + height, ends[-1][1] + 3


def _draw_lines(
    canvas: Canvas, centre: float, y: float, width: float, lines: Sequence[str]
) -> None:
    for i, (line, bold) in enumerate(canvas.wrapped(lines, width)):
        canvas.text(centre, y + (i + 1) * 1.32 * canvas.size, line, bold=bold, quiet=not bold)


def _draw_steps(canvas: Canvas, y: float, steps: Sequence[DrawnStep], *, start: float) -> float:
    """Draw the second row; its way in comes from the right end of the first one."""
    width = (_WIDTH - 2 * _MARGIN - (len(steps) - 1) * _GAP) / len(steps)
    turn = y + 16
    right = _WIDTH - 2
    left = _MARGIN + width / 2
    level = _MARGIN + _TALL / 2
    canvas.line([(start, level), (right, level), (right, turn), (left, turn), (left, turn + 18)])
    top = turn + 18
    height = max(canvas.box_height(step.lines, width) for step in steps)
    for i, step in enumerate(steps):
        x = _MARGIN + i * (width + _GAP)
        canvas.box(x, top, width, step.lines, look=step.look, height=height)
        if i:
            canvas.line([(x - _GAP + 2, top + height / 2), (x - 2, top + height / 2)])
    return top + height


def _draw_legend(canvas: Canvas, y: float) -> float:
    for i, (look, words) in enumerate(_LEGEND):
        top = y + i * 22
        canvas.frame(_MARGIN + 2, top, 30, 14, look=look)
        canvas.text(_MARGIN + 42, top + 11.5, words, anchor="start", quiet=True)
    return y + len(_LEGEND) * 22 + 2
