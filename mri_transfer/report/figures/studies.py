"""Figures of a study of transfer learning: what each arm costs, and what it gains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_transfer.evaluation.transfer_study import StudyArm, StudyDocument
from mri_transfer.report.figures.svg import DOTTED, INK, NEGATIVE, QUIET, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_cost_and_gain", "plot_cost_and_gain"]

#: Seconds below which costs are not told apart.
_LEAST_S = 1.0


def plot_cost_and_gain(ax: Axes, study: StudyDocument) -> None:
    """Plot each arm's difference in AUC from the reference against its seconds.

    Parameters
    ----------
    ax : matplotlib Axes
    study : StudyDocument
    """
    ax.axhline(0, color=INK, linewidth=1, linestyle=DOTTED, gid="reference")
    for number, (arm, seconds, value) in enumerate(_points(study)):
        ends = None if arm.difference is None else arm.difference.interval
        color = NEGATIVE if arm.pretrained else QUIET
        if ends is not None:
            ax.vlines(seconds, *ends, color=color, linewidth=1.4)
        ax.plot(seconds, value, "o", color=color, markersize=6, gid=f"arm{number}")
        ax.annotate(
            arm.name, (seconds, value), xytext=(6, 4), textcoords="offset points", color=color
        )
    ax.set_xscale("log")
    ax.margins(x=0.25)
    ax.set_xlabel("seconds of features and training (logarithmic)")
    ax.set_ylabel(f"AUC minus that of {study.reference}")


def draw_cost_and_gain(study: StudyDocument) -> str:
    """Return cost against gain as one SVG element."""
    points = ", ".join(
        f"{arm.name} {value:+.3f} in {seconds:.0f} s" for arm, seconds, value in _points(study)
    )
    title = f"Difference in AUC from {study.reference} by cost: {points}."
    return draw_svg("cost-and-gain", title, 4.0, plot_cost_and_gain, study)


def _points(study: StudyDocument) -> list[tuple[StudyArm, float, float]]:
    """Return the arms with a figure, their seconds and their differences; the reference's is 0."""
    points = []
    for arm in study.arms:
        difference = 0.0 if arm.name == study.reference else None
        if arm.difference is not None:
            difference = arm.difference.value
        if difference is not None and arm.measured_s is not None:
            points.append((arm, max(arm.measured_s, _LEAST_S), difference))
    return points
