"""Figures of lines over a scale: net benefit by threshold, AUC by number of training patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mri_transfer.evaluation.audit.learning_results import (
    LearningCurve,
)
from mri_transfer.metrics.results import DecisionCurve
from mri_transfer.report.figures.arrays import estimate_arrays, floats
from mri_transfer.report.figures.svg import (
    DOTTED,
    GRID,
    INK,
    MUTED,
    NEGATIVE,
    POSITIVE,
    QUIET,
    draw_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "draw_decision_curve",
    "draw_learning_curve",
    "plot_decision_curve",
    "plot_learning_curve",
]

#: Net benefit below this share of the highest is harm whose depth does not matter.
_DEPTH = 0.35


def plot_decision_curve(ax: Axes, curve: DecisionCurve, *, baseline: str | None) -> None:
    """Plot the net benefit of the model, of treating all and none, and of a baseline.

    Parameters
    ----------
    ax : matplotlib Axes
    curve : DecisionCurve
    baseline : str or None
        Name of the baseline among its `others`.
    """
    x = floats(curve.thresholds)
    value, low, high = estimate_arrays(curve.model)
    treat_all = floats(curve.treat_all)
    ax.axhline(0, color=INK, linewidth=1, linestyle=DOTTED, gid="treat-none", label="treat nobody")
    ax.plot(x, treat_all, color=QUIET, linewidth=1.4, gid="treat-all", label="treat everybody")
    if baseline is not None:
        other = floats(curve.others[baseline].net_benefit)
        ax.plot(x, other, color=POSITIVE, linewidth=1.4, gid="baseline", label=baseline)
    ax.fill_between(x, low, high, color=NEGATIVE, alpha=0.14, linewidth=0)
    ax.plot(x, value, color=NEGATIVE, linewidth=2, gid="model", label="this model")
    top = float(np.nanmax([np.nanmax(value), np.nanmax(treat_all), 0.01]))
    ax.set(xlim=(0, 1), ylim=(-_DEPTH * top, 1.15 * top))
    ax.set_xlabel("threshold: act from this probability on")
    ax.set_ylabel("net benefit")
    _legend(ax, "upper right")


def draw_decision_curve(curve: DecisionCurve, *, baseline: str | None) -> str:
    """Return the decision curve as one SVG element."""
    tenths = [
        f"{100 * threshold:.0f}\u00a0%: {model.value:.2f} against {treat_all:.2f}"
        for threshold, model, treat_all in zip(
            curve.thresholds, curve.model, curve.treat_all, strict=True
        )
        if model.value is not None and abs(10 * threshold - round(10 * threshold)) < 1e-6
    ]
    title = (
        "Net benefit of the model against that of treating everybody, by threshold: "
        + "; ".join(tenths)
        + "."
    )
    return draw_svg("decision-curve", title, 3.7, plot_decision_curve, curve, baseline=baseline)


def plot_learning_curve(ax: Axes, learning: LearningCurve) -> None:
    """Plot the AUC over the number of training patients, a line for each table of features.

    Parameters
    ----------
    ax : matplotlib Axes
    learning : LearningCurve
        What an extrapolation expects is a hollow point.
    """
    ax.axhline(0.5, color=QUIET, linewidth=1, linestyle=DOTTED)
    for row, (name, color) in enumerate(_curve_colors(learning)):
        table = learning.tables[name]
        x = floats([point.n_train for point in table.curve])
        value, low, high = estimate_arrays([point.auc for point in table.curve])
        ax.fill_between(x, low, high, color=color, alpha=0.12, linewidth=0)
        ax.plot(x, value, "o-", color=color, linewidth=2, markersize=4, gid=f"curve{row}",
                label=name)  # fmt: skip
        expected = table.extrapolation
        if expected.value is not None:
            ax.plot(expected.at, expected.value, "o", markerfacecolor="none",
                    markeredgecolor=color, markersize=7, gid=f"expected{row}")  # fmt: skip
    ax.grid(color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_ylim(top=1.0)
    ax.set_xlabel("training patients in a fold (hollow: extrapolated)")
    ax.set_ylabel("AUC of held-out patients")
    _legend(ax, "upper left")


def draw_learning_curve(learning: LearningCurve) -> str:
    """Return the learning curve as one SVG element."""
    lines = []
    for name, _ in _curve_colors(learning):
        points = [
            f"{point.n_train:.0f} patients {point.auc.value:.2f}"
            for point in learning.tables[name].curve
            if point.auc.value is not None
        ]
        lines.append(f"{name}: {', '.join(points)}")
    title = f"AUC by number of training patients. {'; '.join(lines)}."
    return draw_svg("learning-curve", title, 3.7, plot_learning_curve, learning)


def _curve_colors(learning: LearningCurve) -> list[tuple[str, str]]:
    """Return the tables of features and their colours; controls come after the model's own."""
    controls = learning.transfer
    own = [(name, NEGATIVE) for name in learning.tables if name not in controls]
    shades = (POSITIVE, MUTED)
    others = [name for name in learning.tables if name in controls]
    return own + [(name, shades[min(i, 1)]) for i, name in enumerate(others)]


def _legend(ax: Axes, place: Literal["upper left", "upper right"]) -> None:
    ax.legend(loc=place, frameon=False, fontsize=8.5, labelcolor=MUTED)
