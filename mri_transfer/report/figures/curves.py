"""Figures of the patient scores themselves: ROC, calibration, one dot a patient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mri_transfer.evaluation.document import EvaluationDocument
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.results import CalibrationCurve, SmoothCurve
from mri_transfer.report.figures.arrays import FloatArray, floats
from mri_transfer.report.figures.svg import DOTTED, GRID, MUTED, NEGATIVE, POSITIVE, QUIET, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "MAX_DOTS",
    "area_text",
    "draw_calibration",
    "draw_patient_scores",
    "draw_roc",
    "draw_slice_profile",
    "plot_calibration",
    "plot_calibration_curve",
    "plot_patient_scores",
    "plot_roc",
    "plot_roc_curve",
    "plot_slice_profile",
]

#: Of more patients the scores are drawn as histograms, with so many bins.
MAX_DOTS, _BINS = 2000, 40


def plot_roc(ax: Axes, evaluation: EvaluationDocument) -> None:
    """Plot the patient-level ROC curve, the line of chance and the operating point.

    Parameters
    ----------
    ax : matplotlib Axes
    evaluation : EvaluationDocument
    """
    fpr, tpr = (floats(rates) for rates in (evaluation.roc.fpr, evaluation.roc.tpr))
    plot_roc_curve(ax, fpr, tpr, text=_area_text(evaluation))
    patient = evaluation.patient
    sensitivity, specificity = patient.sensitivity.value, patient.specificity.value
    if sensitivity is not None and specificity is not None:
        point = (1 - specificity, sensitivity)
        ax.plot(*point, "o", color=POSITIVE, markersize=7, gid="operating-point", clip_on=False)
        above = sensitivity < 0.85
        ax.annotate(
            "chosen threshold",
            point,
            xytext=(9, -13 if above else -18),
            textcoords="offset points",
            color=POSITIVE,
        )


def plot_roc_curve(ax: Axes, fpr: FloatArray, tpr: FloatArray, *, text: str) -> None:
    """Plot a ROC curve and the line of chance.

    Parameters
    ----------
    ax : matplotlib Axes
    fpr, tpr : ndarray of float64
        1 - specificity and sensitivity, from (0, 0) to (1, 1).
    text : str
        What stands below the curve, such as its area.
    """
    ax.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=DOTTED, gid="chance")
    ax.fill_between(fpr, tpr, color=NEGATIVE, alpha=0.08, linewidth=0)
    ax.plot(fpr, tpr, color=NEGATIVE, linewidth=2, gid="roc", clip_on=False)
    ax.text(0.98, 0.05, text, ha="right", linespacing=1.5)
    _below_diagonal(ax, 0.4, "guessing")
    _unit_square(ax)
    ax.set_xlabel("1 \u2212 specificity")
    ax.set_ylabel("sensitivity")


def draw_roc(evaluation: EvaluationDocument) -> str:
    """Return the ROC curve as one SVG element."""
    title = (
        f"ROC curve of {evaluation.n_patients} patients. "
        + _area_text(evaluation).replace("\n", ", ")
        + "."
    )
    return draw_svg("roc", title, 4.3, plot_roc, evaluation)


def plot_calibration(ax: Axes, evaluation: EvaluationDocument) -> None:
    """Plot the observed share of the positive label against the score: by group, and smoothed.

    Parameters
    ----------
    ax : matplotlib Axes
    evaluation : EvaluationDocument
    """
    curve = evaluation.calibration
    plot_calibration_curve(ax, curve, curve.smooth, positive=evaluation.positive_label)


def plot_calibration_curve(
    ax: Axes, curve: CalibrationCurve, smooth: SmoothCurve, *, positive: str
) -> None:
    """Plot observed shares against the score: by group with exact intervals, and smoothed.

    Parameters
    ----------
    ax : matplotlib Axes
    curve : CalibrationCurve
    smooth : SmoothCurve
    positive : str
        The positive label.
    """
    predicted, observed, low, high = (
        floats(values) for values in (curve.predicted, curve.observed, curve.ci_low, curve.ci_high)
    )
    ax.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=DOTTED, gid="ideal")
    ax.vlines(
        predicted, low, high, color=NEGATIVE, linewidth=1.4, alpha=0.55, clip_on=False,
        gid="intervals",
    )  # fmt: skip
    _smooth_line(ax, smooth)
    # Points on the edge of the square are drawn whole.
    ax.plot(
        predicted, observed, "o", color=NEGATIVE, markersize=6, clip_on=False, zorder=3,
        gid="calibration",
    )  # fmt: skip
    _count_points(ax, predicted, observed, curve.n)
    _unit_square(ax)
    ax.set_xlabel("mean score of the group")
    ax.set_ylabel(f"share labelled {positive}")


def draw_calibration(evaluation: EvaluationDocument) -> str:
    """Return the calibration plot as one SVG element."""
    curve = evaluation.calibration
    pairs = "; ".join(
        f"mean score {x:.2f}, observed {y:.2f}"
        for x, y in zip(curve.predicted, curve.observed, strict=True)
    )
    title = (
        f"Calibration of the patient scores by group: {pairs}. A smoothed curve runs through the "
        "groups."
    )
    return draw_svg("calibration", title, 4.3, plot_calibration, evaluation)


def plot_patient_scores(ax: Axes, patient_scores: pd.DataFrame, *, labels: Sequence[str]) -> None:
    """Plot one dot a patient, by label: the score averaged over repeats. Of many, histograms.

    Parameters
    ----------
    ax : matplotlib Axes
    patient_scores : DataFrame
        Columns `patient_id`, `label`, `score` (0 to 1), one row per patient and repeat.
    labels : sequence of str
        Negative label, positive label.
    """
    means = patient_scores.groupby(["label", "patient_id"], sort=True)["score"].mean()
    for row, (label, color) in enumerate(zip(labels, (NEGATIVE, POSITIVE), strict=True)):
        present = label in means.index.get_level_values("label")
        scores = np.sort(means.loc[label].to_numpy(dtype=float)) if present else np.array([])
        if len(means) > MAX_DOTS:
            counts, edges = np.histogram(scores, bins=_BINS, range=(0, 1))
            height = 0.36 * counts / max(int(counts.max()), 1)
            ax.stairs(
                row + height, edges, baseline=row - height, color=color, fill=True, alpha=0.75,
                gid=f"row{row}",
            )  # fmt: skip
        else:
            ax.plot(
                scores, row + _pile(scores), "o", color=color, markersize=4, alpha=0.75,
                gid=f"row{row}",
            )  # fmt: skip
        ax.text(0.0, row + 0.43, f"{label} ({len(scores)} patients)", color=color)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.5, 1.6), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"score: probability of {labels[1]}, mean of the repeats")


def draw_patient_scores(patient_scores: pd.DataFrame, *, labels: Sequence[str]) -> str:
    """Return the strip of patient scores as one SVG element."""
    count = patient_scores["patient_id"].nunique()
    dots = "" if count > MAX_DOTS else "one dot each, "
    title = f"Scores of {count} patients, {dots}{labels[0]} below and {labels[1]} above."
    return draw_svg(
        "patient-scores", title, 3.4, plot_patient_scores, patient_scores, labels=labels
    )


def plot_slice_profile(ax: Axes, profile: pd.DataFrame, *, labels: Sequence[str]) -> None:
    """Plot the mean slice score of each label from the lowest to the highest slice.

    Parameters
    ----------
    ax : matplotlib Axes
    profile : DataFrame
        Index: slice number, rising with height; one column a label: mean score, 0 to 1.
    labels : sequence of str
        Negative label, positive label.
    """
    x = profile.index.to_numpy(dtype=float)
    ax.axhline(0.5, color=QUIET, linewidth=1, linestyle=DOTTED)
    means = {label: profile[label].to_numpy(dtype=float) for label in labels if label in profile}
    highest = max(means, key=lambda label: float(np.nanmean(means[label])), default=None)
    for label, color in zip(labels, (NEGATIVE, POSITIVE), strict=True):
        if label in means:
            y = means[label]
            ax.plot(x, y, color=color, linewidth=2, gid=f"profile-{labels.index(label)}")
            side = 8 if label == highest else -15
            ax.annotate(
                label, (x[-1], y[-1]), xytext=(0, side), textcoords="offset points", color=color,
                ha="right",
            )  # fmt: skip
    ax.set_ylim(0, 1)
    ax.set_xlabel("slice, from the lowest to the highest")
    ax.set_ylabel("mean slice score")


def draw_slice_profile(profile: pd.DataFrame, *, labels: Sequence[str]) -> str:
    """Return the mean slice score by height as one SVG element."""
    title = f"Mean slice score by slice height for {labels[0]} and {labels[1]}."
    return draw_svg("slice-profile", title, 3.4, plot_slice_profile, profile, labels=labels)


def _area_text(evaluation: EvaluationDocument) -> str:
    return area_text(evaluation.patient.auc, confidence=evaluation.confidence)


def _smooth_line(ax: Axes, smooth: SmoothCurve) -> None:
    """Draw the smoothed calibration curve, and its band where it has one."""
    predicted, observed = floats(smooth.predicted), floats(smooth.observed)
    if smooth.ci_low and smooth.ci_high:
        low, high = floats(smooth.ci_low), floats(smooth.ci_high)
        ax.fill_between(predicted, low, high, color=POSITIVE, alpha=0.13, linewidth=0, gid="band")
    ax.plot(predicted, observed, color=POSITIVE, linewidth=1.8, gid="smooth")


def area_text(auc: Estimate, *, confidence: float) -> str:
    """Return the area under a curve with its interval, such as `AUC 0.79` and `95 % CI ...`."""
    if auc.value is None:
        return "AUC not defined"
    if auc.interval is None:
        return f"AUC {auc.value:.2f}"
    low, high = auc.interval
    percent = f"{100 * confidence:g}\u00a0%"
    return f"AUC {auc.value:.2f}\n{percent} CI {low:.2f} to {high:.2f}"


def _pile(scores: FloatArray) -> FloatArray:
    """Heights that stack neighbouring dots around 0, within a third of a row."""
    bins = np.floor(scores / 0.025).astype(int)
    heights = np.zeros(len(scores))
    for name in np.unique(bins):
        members = np.flatnonzero(bins == name)
        heights[members] = np.arange(len(members)) - (len(members) - 1) / 2
    tallest = np.abs(heights).max(initial=0.0)
    result: FloatArray = heights * min(0.085, 0.36 / tallest if tallest else 1.0)
    return result


def _count_points(ax: Axes, x: FloatArray, y: FloatArray, counts: Sequence[float]) -> None:
    """Write how many patients a point stands for: once if all are alike, else beside each.

    Counts are means over repeats, and patients are whole.
    """
    whole = [round(count) for count in counts]
    if max(whole) - min(whole) <= 1:
        about = "" if all(count == whole[0] for count in counts) else "about "
        typical = round(float(np.mean(counts)))
        ax.text(0.98, 0.05, f"{about}{typical} patients a point", ha="right", color=MUTED)
        return
    for x_i, y_i, count in zip(x, y, whole, strict=True):
        if math.isfinite(x_i) and math.isfinite(y_i):
            ax.annotate(
                str(count),
                (x_i, y_i),
                xytext=(6, -4),
                textcoords="offset points",
                color=MUTED,
                fontsize=8.5,
            )


def _below_diagonal(ax: Axes, x: float, text: str) -> None:
    ax.text(
        x, x - 0.02, text, color=MUTED, rotation=45, rotation_mode="anchor", ha="center", va="top"
    )


def _unit_square(ax: Axes) -> None:
    ticks = [0, 0.25, 0.5, 0.75, 1]
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=ticks, yticks=ticks, aspect="equal")
    ax.grid(color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
