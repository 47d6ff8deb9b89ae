"""The flow of scans and patients, from what was offered to the folds, as CONSORT draws it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mri_transfer.report.figures.diagram import Canvas

__all__ = ["FlowGroups", "FlowStep", "draw_flow"]

_WIDTH = 640.0
_MAIN, _OUT = 250.0, 350.0
_GAP = 26.0
_MIN_BOX = 104.0
_BETWEEN = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowStep:
    """How many there are at a point of the flow, and how many are left out after it.

    Attributes
    ----------
    lines : tuple of str
        The first is the head.
    left_out : tuple of str
        Head and reasons; empty where nobody is left out before the next step.
    """

    lines: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowGroups:
    """What the last step divides into: labels, folds.

    Attributes
    ----------
    heading : str
        What divides them.
    boxes : tuple of tuple of str
        The lines of each box.
    """

    heading: str
    boxes: tuple[tuple[str, ...], ...]


def draw_flow(steps: Sequence[FlowStep], groups: Sequence[FlowGroups], *, title: str) -> str:
    """Draw the flow as one SVG element; the same bytes for the same input.

    Parameters
    ----------
    steps : sequence of FlowStep
        From the first to the last, at least one; who is left out stands beside.
    groups : sequence of FlowGroups
        Below the last step, each in one or more rows of boxes.
    title : str
        The text alternative, which says the same in words.
    """
    canvas = Canvas(name="flow", width=_WIDTH, size=14)
    y = 4.0
    for i, step in enumerate(steps):
        y += canvas.box(4, y, _MAIN, step.lines)
        if i + 1 < len(steps) or step.left_out:
            y = _descend(canvas, y, step.left_out, goes_on=i + 1 < len(steps))
    for group in groups:
        if group.boxes:
            y = _draw_groups(canvas, y, group)
    return canvas.svg(title, y + 4)


def _descend(canvas: Canvas, y: float, left_out: Sequence[str], *, goes_on: bool) -> float:
    """Draw the way down to the next step, and beside it who is left out; return its end."""
    middle = 4 + _MAIN / 2
    height = canvas.box_height(left_out, _OUT) if left_out else 0.0
    end = y + (height + _GAP if left_out else _GAP)
    if left_out:
        level = y + _GAP / 2 + height / 2
        x = _WIDTH - _OUT - 4
        canvas.line([(middle, level), (x, level)])
        canvas.box(x, y + _GAP / 2, _OUT, left_out, look="out")
    if goes_on:
        canvas.line([(middle, y), (middle, end)])
    return end


def _draw_groups(canvas: Canvas, y: float, groups: FlowGroups) -> float:
    middle = 4 + _MAIN / 2
    y_heading = y + _GAP
    canvas.line([(middle, y), (middle, y_heading)])
    y = y_heading + canvas.box(4, y_heading, _WIDTH - 8, (groups.heading,)) + _BETWEEN
    fits = max(1, int((_WIDTH - 8 + _BETWEEN) // (_MIN_BOX + _BETWEEN)))
    rows = -(-len(groups.boxes) // fits)
    columns = -(-len(groups.boxes) // rows)
    width = (_WIDTH - 8 - (columns - 1) * _BETWEEN) / columns
    for row in range(rows):
        boxes = groups.boxes[row * columns : (row + 1) * columns]
        height = max(canvas.box_height(box, width) for box in boxes)
        for i, box in enumerate(boxes):
            canvas.box(4 + i * (width + _BETWEEN), y, width, box, height=height)
        y += height + _BETWEEN
    return y - _BETWEEN
