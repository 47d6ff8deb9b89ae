"""One style and one way to SVG for every figure."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DOTTED",
    "GRID",
    "INK",
    "MUTED",
    "NEGATIVE",
    "POSITIVE",
    "QUIET",
    "draw_svg",
]

P = ParamSpec("P")

# Palette of Okabe and Ito (2008), darkened for text on white.
INK, MUTED, GRID = "#1f2a37", "#5b6776", "#d5dbe2"
POSITIVE, NEGATIVE, QUIET = "#c2540a", "#0b6aa8", "#8f9baa"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    POSITIVE: "--positive",
    NEGATIVE: "--negative",
    QUIET: "--quiet",
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mri-transfer",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.solid_capstyle": "round",
}
_WIDTH_IN = 4.6

#: Line style of whatever is a reference and not data.
DOTTED = (0, (2, 3))


def draw_svg(
    name: str,
    title: str,
    height_in: float,
    plot: Callable[Concatenate[Axes, P], None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> str:
    """Draw on fresh axes and return one SVG element.

    Parameters
    ----------
    name : str
        Prefix of the element's ids; different for each figure of a page.
    title : str
        What the figure shows, in words: the text alternative.
    height_in : float
        Height in inches; the width is the same for all figures.
    plot : callable
        Draws on the axes that it is given, with the arguments that follow.

    Returns
    -------
    str
        `<svg role="img">`, scalable, without date, fonts, scripts or document type.
    """
    import warnings

    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # "default" first: a user's own matplotlibrc must not change the bytes.
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        ax = figure.add_subplot()
        ax.patch.set_visible(False)
        plot(ax, *args, **kwargs)
        stream = io.StringIO()
        with warnings.catch_warnings():
            # Text stays text: the reader's fonts draw it, not the one that lacks a glyph here.
            warnings.filterwarnings("ignore", message=r"Glyph \d+", category=UserWarning)
            figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _inline_svg(stream.getvalue(), name=name, title=title)


def _inline_svg(svg: str, *, name: str, title: str) -> str:
    """Turn a file of matplotlib's SVG backend into an element that can stand in a page."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    # Several figures share a page: ids that nothing points to go, the others get a prefix.
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)([\w-]+)', rf"\g<1>{name}-\g<2>", svg)
    svg = re.sub(r"'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable}, {color})")
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None  # the backend always writes one
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {view_box[0]} role="img" '
        f'aria-labelledby="{name}-title" stroke-linejoin="round">\n'
        f'<title id="{name}-title">{escape(title)}</title>'
    )
    return re.sub(r"\A<svg\b[^>]*>", lambda _: root, svg) + "\n"
