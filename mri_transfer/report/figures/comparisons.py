"""Figures that set one thing beside another: model and baselines, honest and leaky splits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mri_transfer.evaluation.audit.document import AuditDocument
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report.figures.svg import DOTTED, INK, MUTED, NEGATIVE, POSITIVE, QUIET, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "draw_auc_comparison",
    "draw_leakage",
    "draw_run_comparison",
    "plot_auc_comparison",
    "plot_leakage",
]

_ARMS = (
    ("patient_split_true_labels", "split by patient, true labels"),
    ("session_split_true_labels", "split by session, true labels"),
    ("slice_split_true_labels", "split by slice, true labels"),
    ("patient_split_permuted_labels", "split by patient, permuted labels"),
    ("session_split_permuted_labels", "split by session, permuted labels"),
    ("slice_split_permuted_labels", "split by slice, permuted labels"),
)


def plot_auc_comparison(ax: Axes, model: Estimate, baselines: Mapping[str, Estimate]) -> None:
    """Plot the patient AUC of the model and of each baseline with its interval.

    Parameters
    ----------
    ax : matplotlib Axes
    model : Estimate
    baselines : mapping of str to Estimate
        By name, in the order of rows; those without a value are left out.
    """
    _plot_auc_rows(ax, _auc_rows(model, baselines))


def _plot_auc_rows(ax: Axes, rows: Sequence[tuple[str, Estimate]]) -> None:
    """Plot a value with its interval a row, the first in the colour of the model."""
    lows = [entry.ci_low for _, entry in rows if entry.ci_low is not None]
    left = min([0.4, *(math.floor(10 * low) / 10 for low in lows)])
    for row, (name, entry) in enumerate(rows):
        ax.vlines(0.5, row - 0.14, row + 0.3, color=QUIET, linewidth=1, linestyle=DOTTED)
        color = NEGATIVE if row == 0 else MUTED
        if entry.ci_low is not None and entry.ci_high is not None:
            ax.hlines(row, entry.ci_low, entry.ci_high, color=color, linewidth=1.6)
        ax.plot(entry.value or 0.0, row, "o", color=color, markersize=7, gid=f"auc{row}")
        ax.text(left, row - 0.3, name, color=color)
        ax.text(1.0, row - 0.3, f"{entry.value:.2f}", color=color, ha="right")
    ax.set(xlim=(left, 1.0), ylim=(len(rows) - 0.5, -0.75), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("AUC by patient (dotted line: guessing)")


def draw_auc_comparison(model: Estimate, baselines: Mapping[str, Estimate]) -> str:
    """Return model and baselines side by side as one SVG element."""
    rows = _auc_rows(model, baselines)
    title = "AUC by patient: " + ", ".join(f"{name} {e.value:.2f}" for name, e in rows) + "."
    return draw_svg("auc-comparison", title, _rows_height(rows), _plot_auc_rows, rows)


def draw_run_comparison(runs: Mapping[str, Estimate]) -> str:
    """Return the AUC of several runs on their common patients as one SVG element.

    Parameters
    ----------
    runs : mapping of str to Estimate
        By the run's name, its AUC as value and interval; runs without a value are left out.
    """
    rows = [(name, entry) for name, entry in runs.items() if entry.value is not None]
    title = "AUC on the common patients: "
    title += ", ".join(f"{name} {entry.value:.2f}" for name, entry in rows) + "."
    return draw_svg("run-comparison", title, _rows_height(rows), _plot_auc_rows, rows)


def _rows_height(rows: Sequence[object]) -> float:
    return 0.8 + 0.5 * max(len(rows), 1)


def plot_leakage(ax: Axes, audit: AuditDocument) -> None:
    """Plot the slice accuracy of the arms of the leakage stress test.

    Parameters
    ----------
    ax : matplotlib Axes
    audit : mapping
        As in `audit.json`; `leakage.arms` is read.
    """
    for row, (name, entry) in enumerate(_arm_rows(audit)):
        color = NEGATIVE if name.startswith("split by patient") else POSITIVE
        ax.barh(row, entry.value or 0.0, height=0.36, color=color, gid=f"arm{row}")
        ax.vlines(0.5, row - 0.2, row + 0.3, color=INK, linewidth=1, linestyle=DOTTED)
        if entry.ci_low is not None and entry.ci_high is not None:
            ax.hlines(row, entry.ci_low, entry.ci_high, color=INK, linewidth=1.2)
        ax.text(0.0, row - 0.27, name, color=INK)
        ax.text(1.0, row - 0.27, f"{entry.value:.2f}", color=INK, ha="right")
    ax.set(xlim=(0, 1), ylim=(len(_arm_rows(audit)) - 0.6, -0.75), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("slice accuracy (dotted line: a coin toss)")


def draw_leakage(audit: AuditDocument) -> str:
    """Return the leakage stress test as one SVG element."""
    rows = ", ".join(f"{name} {entry.value:.2f}" for name, entry in _arm_rows(audit))
    title = f"Slice accuracy of the leakage stress test: {rows}."
    height_in = 0.6 + 0.7 * len(_arm_rows(audit))
    return draw_svg("leakage", title, height_in, plot_leakage, audit)


def _auc_rows(model: Estimate, baselines: Mapping[str, Estimate]) -> list[tuple[str, Estimate]]:
    rows = [("this model", model), *baselines.items()]
    return [(name, entry) for name, entry in rows if entry.value is not None]


def _arm_rows(audit: AuditDocument) -> list[tuple[str, Estimate]]:
    arms = audit.leakage.arms
    rows = [(name, arms[key].slice_accuracy) for key, name in _ARMS if key in arms]
    return [(name, entry) for name, entry in rows if entry.value is not None]
