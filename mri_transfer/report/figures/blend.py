"""The figure of a blend: how much each training domain counts for a new site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mri_transfer.report.figures.svg import NEGATIVE, QUIET, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_blend"]


def _plot_blend(ax: Axes, weights: Mapping[str, float]) -> None:
    """Plot a bar a training domain.

    Parameters
    ----------
    ax : matplotlib Axes
    weights : mapping of str to float
        By domain; they sum to 1.
    """
    for row, (domain, weight) in enumerate(weights.items()):
        (bar,) = ax.barh(row, weight, color=NEGATIVE, alpha=0.6, height=0.6)
        bar.set_gid(f"weight-{row}")
        ax.annotate(f"{weight:.2f}", (weight, row), (4, 0), textcoords="offset points", va="center")
        bar.set_label(domain)
    ax.set_yticks(range(len(weights)), list(weights))
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12)
    ax.axvline(1 / len(weights), color=QUIET, linewidth=0.8, linestyle="--")
    ax.set_xlabel("weight in the blend (dashed: all alike)")


def draw_blend(weights: Mapping[str, float]) -> str:
    """Return the blend's weights as one SVG element."""
    listed = ", ".join(f"{domain} {weight:.2f}" for domain, weight in weights.items())
    title = f"Weights of training domains in the blend: {listed}."
    return draw_svg("blend", title, 1.0 + 0.4 * len(weights), _plot_blend, weights)
