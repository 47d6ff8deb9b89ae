"""Boxes, lines and text for diagrams: SVG built as text, in the colours of all other figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal
from xml.sax.saxutils import escape

from mri_transfer.report.figures.svg import GRID, INK, MUTED, NEGATIVE, POSITIVE, QUIET

__all__ = [
    "Canvas",
    "Look",
]

#: What a box is: plain; left out (dashed); frozen (hatched); trained (a thick edge).
Look = Literal["plain", "out", "frozen", "trained"]

_TINT = "#f4f6f8"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    QUIET: "--quiet",
    POSITIVE: "--positive",
    NEGATIVE: "--negative",
    _TINT: "--tint",
}
#: Mean width of a letter over the size of the type, on the wide side, since the reader's own
#: fonts draw the text.
_LETTER = 0.58
_LINE = 1.32
_PADDING = 8.0
_EDGES = {"plain": (QUIET, 1.0), "out": (QUIET, 1.0), "frozen": (NEGATIVE, 1.2)}


def text_width(text: str, size: float) -> float:
    """Return about how wide a line of text is drawn, in the units of its size."""
    return _LETTER * size * len(text)


@dataclasses.dataclass(eq=False)
class Canvas:
    """A drawing that grows by boxes, lines and text; lengths are in its own units.

    Attributes
    ----------
    name : str
        Prefix of the ids of the element, different for each figure of a page.
    width : float
    size : float
        Size of the type.
    """

    name: str
    width: float
    size: float = 13.0
    _parts: list[str] = dataclasses.field(default_factory=list)
    _hatched: bool = False

    def box_height(self, lines: Sequence[str], width: float) -> float:
        """Return how high a box of these lines has to be."""
        return 2 * _PADDING + _LINE * self.size * len(self.wrapped(lines, width)) - 2

    def box(
        self,
        x: float,
        y: float,
        width: float,
        lines: Sequence[str],
        *,
        look: Look = "plain",
        height: float | None = None,
    ) -> float:
        """Draw a box with text in its middle, the first line bold; return the height.

        Parameters
        ----------
        x, y : float
            Upper left corner.
        width : float
        lines : sequence of str
            Each is broken where it is too long.
        look : {"plain", "out", "frozen", "trained"}
        height : float, optional
            By default as much as the text needs.
        """
        wrapped = self.wrapped(lines, width)
        needed = self.box_height(lines, width)
        height = needed if height is None else max(height, needed)
        self.frame(x, y, width, height, look=look)
        top = y + (height - needed) / 2 + _PADDING + 0.85 * self.size
        for i, (line, bold) in enumerate(wrapped):
            self.text(x + width / 2, top + i * _LINE * self.size, line, bold=bold)
        return height

    def frame(self, x: float, y: float, width: float, height: float, *, look: Look) -> None:
        """Draw the edge and the ground of a box."""
        color, thickness = _EDGES.get(look, (POSITIVE, 2.4))
        dashes = "; stroke-dasharray: 4 3" if look == "out" else ""
        ground = "none" if look == "out" else _variable(_TINT)
        place = (
            f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
            f"{'' if look == 'frozen' else ' rx=' + chr(34) + '5' + chr(34)}"
        )
        edge = f"stroke: {_variable(color)}; stroke-width: {thickness}{dashes}"
        self._parts.append(f'<rect {place} style="fill: {ground}; {edge}"/>')
        if look == "frozen":
            self._hatched = True
            self._parts.append(f'<rect {place} style="fill: url(#{self.name}-hatch)"/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        bold: bool = False,
        quiet: bool = False,
        anchor: Literal["start", "middle", "end"] = "middle",
    ) -> None:
        """Write a line; x is its middle, its start or its end, y its base line."""
        weight = ' font-weight="600"' if bold else ""
        color = _variable(MUTED if quiet else INK)
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight} '
            f'style="fill: {color}">{escape(text)}</text>'
        )

    def line(self, points: Sequence[tuple[float, float]], *, arrow: bool = True) -> None:
        """Draw a line through points, with a head at its end; its last part is upright or level."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        color = _variable(QUIET)
        self._parts.append(
            f'<polyline points="{path}" style="fill: none; stroke: {color}; stroke-width: 1.4"/>'
        )
        if arrow:
            (x0, y0), (x, y) = points[-2:]
            dx, dy = _sign(x - x0), _sign(y - y0)
            corners = ((x, y), (x - 7 * dx - 4 * dy, y - 7 * dy - 4 * dx),
                       (x - 7 * dx + 4 * dy, y - 7 * dy + 4 * dx))  # fmt: skip
            head = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
            self._parts.append(f'<polygon points="{head}" style="fill: {color}"/>')

    def svg(self, title: str, height: float) -> str:
        """Return the drawing as one SVG element, `role="img"`, whose title is `title`."""
        hatch = _HATCH.format(name=self.name, color=_variable(NEGATIVE)) if self._hatched else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {height:.0f}" '
            f'role="img" aria-labelledby="{self.name}-title">\n'
            f'<title id="{self.name}-title">{escape(title)}</title>\n{hatch}'
            f"<g font-family=\"system-ui, 'DejaVu Sans', sans-serif\" "
            f'font-size="{self.size:g}">\n' + "\n".join(self._parts) + "\n</g>\n</svg>\n"
        )

    def wrapped(self, lines: Sequence[str], width: float) -> list[tuple[str, bool]]:
        """Return lines broken to a width, and whether each is bold."""
        room = max(4, int((width - 2 * _PADDING) / text_width("x", self.size)))
        # Bold letters are wider.
        return [
            (part, i == 0)
            for i, line in enumerate(lines)
            for part in _broken(line, room - room // 12 if i == 0 else room)
        ]


_HATCH = (
    '<defs><pattern id="{name}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><path d="M0 0V6" '
    'style="stroke: {color}; stroke-width: 1; stroke-opacity: 0.45"/></pattern></defs>\n'
)


def _broken(line: str, room: int) -> list[str]:
    """Break a line at blanks, and a word that is longer than the room anywhere."""
    import textwrap

    # Blanks that must not break count as letters.
    return textwrap.wrap(line, room, break_on_hyphens=False, fix_sentence_endings=False) or [""]


def _variable(color: str) -> str:
    return f"var({_VARIABLES[color]}, {color})"


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
