"""Figures of a study of transfer learning: what each arm costs, and what it gains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_transfer.evaluation.transfer_study import StudyArm, StudyDocument
from mri_transfer.report.figures.svg import DOTTED, GRID, INK, NEGATIVE, QUIET, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_cost_and_gain", "plot_cost_and_gain"]

#: Seconds below which costs are not told apart.
_LEAST_S = 1.0
#: Where the axis of cost is marked, as far as it reaches.
_MARKS_S = {
    1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36_000: "10 h",
    360_000: "100 h",
}  # fmt: skip


def plot_cost_and_gain(ax: Axes, study: StudyDocument) -> None:
    """Plot each arm's difference in AUC from the reference, and beside it its cost.

    A row an arm, from the cheapest to the dearest.

    Parameters
    ----------
    ax : matplotlib Axes
        Its place is taken by two panels.
    study : StudyDocument
    """
    points = sorted(_points(study), key=lambda point: point[1])
    ax.set_axis_off()
    gain, cost = ax.inset_axes((0.0, 0.0, 0.62, 1.0)), ax.inset_axes((0.68, 0.0, 0.32, 1.0))
    gain.axvline(0, color=INK, linewidth=1, linestyle=DOTTED, gid="reference")
    left = min([0.0, *(end for arm, _, value in points for end in (*_ends(arm), value))])
    for row, (arm, seconds, value) in enumerate(points):
        color = NEGATIVE if arm.pretrained else QUIET
        if ends := _ends(arm):
            gain.hlines(row, *ends, color=color, linewidth=1.6)
        gain.plot(value, row, "o", color=color, markersize=6, gid=f"gain-{arm.name}")
        gain.text(left, row - 0.25, arm.name, color=color, fontsize=8.5)
        cost.plot([_LEAST_S, seconds], [row, row], color=GRID, linewidth=1)
        cost.plot(seconds, row, "o", color=color, markersize=6, gid=f"cost-{arm.name}")
    for panel in (gain, cost):
        panel.set(ylim=(len(points) - 0.5, -0.9), yticks=[])
        panel.spines["left"].set_visible(False)
    gain.set_xlabel(f"AUC minus that of {study.reference}")
    dearest = max(seconds for _, seconds, _ in points)
    cost.set_xscale("log")
    cost.set_xlim(0.7 * min(seconds for _, seconds, _ in points), 1.6 * dearest)
    low, high = cost.get_xlim()
    marks = {second: words for second, words in _MARKS_S.items() if low <= second <= high}
    cost.set_xticks([*marks], [*marks.values()])
    cost.set_xticks([], minor=True)
    cost.set_xlabel("time (logarithmic)")


def draw_cost_and_gain(study: StudyDocument) -> str:
    """Return cost against gain as one SVG element."""
    found = _points(study)
    points = ", ".join(
        f"{arm.name} {value:+.3f} in {seconds:.0f} s" for arm, seconds, value in found
    )
    title = f"Difference in AUC from {study.reference} by cost: {points}."
    return draw_svg("cost-and-gain", title, 1.0 + 0.36 * len(found), plot_cost_and_gain, study)


def _ends(arm: StudyArm) -> tuple[float, float] | tuple[()]:
    """Return the interval of an arm's difference; empty where there is none."""
    found = None if arm.difference is None else arm.difference.interval
    return () if found is None else found


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
