"""Figures of trained tails: loss and inner figures by epoch, and how far each stage moved."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING

from mri_transfer.report.figures.arrays import floats
from mri_transfer.report.figures.svg import GRID, NEGATIVE, POSITIVE, QUIET, draw_svg
from mri_transfer.training.fit_record import TuningRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_moved", "draw_tuning", "plot_moved", "plot_tuning"]

#: Repeat and fold of a fit.
Fit = tuple[int, int]

_PANELS = (
    ("loss", "loss of\ntraining batches"),
    ("log_loss", "inner log loss"),
    ("auc", "inner AUC"),
)


def plot_tuning(ax: Axes, records: Mapping[Fit, TuningRecord]) -> None:
    """Plot loss, inner log loss and inner AUC by epoch, a panel each and a line a fold.

    Parameters
    ----------
    ax : matplotlib Axes
        Its place is taken by the panels.
    records : mapping of (int, int) to TuningRecord
        By repeat and fold. A dot stands where the number of epochs was chosen.
    """
    from matplotlib.ticker import MaxNLocator

    ax.set_axis_off()
    shown = [name for name, _ in _PANELS if any(_curve(one, name) for one in records.values())]
    height = 1.0 / len(shown)
    last = max(epoch for one in records.values() for name in shown for epoch in _curve(one, name))
    for row, name in enumerate(shown):
        panel = ax.inset_axes((0.0, 1 - (row + 1) * height, 1.0, 0.86 * height))
        for (repeat, fold), record in records.items():
            curve = _curve(record, name)
            values = floats([*curve.values()])
            panel.plot([*curve], values, color=NEGATIVE, linewidth=1.2, alpha=0.6,
                       gid=f"{name}-r{repeat}f{fold}")  # fmt: skip
            chosen = curve.get(record.epochs)
            if chosen is not None:
                panel.plot(record.epochs, chosen, "o", color=POSITIVE, markersize=4.5,
                           gid=f"{name}-chosen-r{repeat}f{fold}")  # fmt: skip
        panel.set_xlim(-0.2, last + 0.2)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(color=GRID, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.set_ylabel(dict(_PANELS)[name])
        if row == len(shown) - 1:
            panel.set_xlabel("epoch (0: the untuned stages)")
        else:
            panel.tick_params(labelbottom=False)


def draw_tuning(records: Mapping[Fit, TuningRecord]) -> str:
    """Return loss and inner figures by epoch as one SVG element."""
    chosen = sorted(record.epochs for record in records.values())
    title = (
        f"Loss and inner figures by epoch of {len(records)} fits; epochs chosen: "
        f"{', '.join(map(str, chosen))}."
    )
    return draw_svg("tuning", title, 5.6, plot_tuning, records)


def plot_moved(ax: Axes, records: Mapping[Fit, TuningRecord]) -> None:
    """Plot how far each stage moved: a bar for the mean of the folds, a dot for each of them.

    Parameters
    ----------
    ax : matplotlib Axes
    records : mapping of (int, int) to TuningRecord
    """
    moved = _moved(records)
    for row, (stage, values) in enumerate(moved.items()):
        (bar,) = ax.barh(row, 100 * fmean(values), color=NEGATIVE, alpha=0.3, height=0.6)
        bar.set_gid(f"moved-{stage}")
        ax.plot([100 * value for value in values], [row] * len(values), "o", color=NEGATIVE,
                markersize=4, gid=f"folds-{stage}")  # fmt: skip
    ax.set_yticks(range(len(moved)), [stage.replace("_", ", ") for stage in moved])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.axvline(0, color=QUIET, linewidth=0.8)
    ax.set_xlabel("distance from the start, percent of the start's length")


def draw_moved(records: Mapping[Fit, TuningRecord]) -> str:
    """Return how far each stage moved as one SVG element."""
    moved = _moved(records)
    listed = ", ".join(f"{stage} {100 * fmean(values):.2f}" for stage, values in moved.items())
    title = f"Mean distance of each stage from its start, in percent of its length: {listed}."
    height = 1.0 + 0.4 * len(moved)
    return draw_svg("stages-moved", title, height, plot_moved, records)


def _curve(record: TuningRecord, name: str) -> dict[int, float | None]:
    """Return a figure by epoch; the loss begins with the first epoch, inner figures before it."""
    if name == "loss":
        return dict(enumerate(record.loss, start=1))
    return dict(enumerate(record.inner_mean("auc" if name == "auc" else "log_loss")))


def _moved(records: Mapping[Fit, TuningRecord]) -> dict[str, list[float]]:
    stages = next(iter(records.values())).moved
    return {stage: [record.moved[stage] for record in records.values()] for stage in stages}
