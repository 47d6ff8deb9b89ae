"""The tables of clinical utility: decision curve, operating points, predictive values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from mri_transfer.metrics.results import OperatingPoint, Rates, ThresholdRange
from mri_transfer.report.blocks.cells import (
    Column,
    Table,
    confidence_text,
    figure_column,
    percent,
    stacked,
    table_of,
)
from mri_transfer.report.blocks.wording import label_of, number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.comparison_tables import best_baseline

__all__ = [
    "curve_baseline",
    "decision_table",
    "operating_table",
    "predictive_table",
    "utility_sentences",
]

_POINT_METRICS = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "positive_likelihood_ratio",
    "negative_likelihood_ratio",
)


def curve_baseline(inputs: ReportInputs) -> str | None:
    """Return the covariate baseline of the decision curve: the one with the highest AUC."""
    return best_baseline(inputs.evaluation, among=inputs.evaluation.decision_curve.others)


def decision_table(inputs: ReportInputs, *, whole: bool) -> Table | None:
    """Return the decision curve in numbers: every threshold, or every tenth of the scale."""
    curve = inputs.evaluation.decision_curve
    columns: list[Column[int]] = [
        Column("Model", lambda i: stacked(curve.model[i]).split("\n", 0 if whole else 1)[0]),
        Column("Treat all", lambda i: number(curve.treat_all[i])),
        Column("Gain over all and none", lambda i: stacked(curve.gain[i])),
    ]
    name = curve_baseline(inputs)
    if name is not None:
        other = curve.others[name]
        columns.append(Column(name, lambda i: number(other.net_benefit[i])))
        if whole:
            columns.append(Column(f"Model minus {name}", lambda i: stacked(other.difference[i])))
    shown = [
        i
        for i, threshold in enumerate(curve.thresholds)
        if whole or abs(10 * threshold - round(10 * threshold)) < 1e-6
    ]
    return table_of(
        shown,
        f"Net benefit by threshold, with {confidence_text(inputs)}",
        Column("Act from", lambda i: percent(curve.thresholds[i])),
        *columns,
    )


def operating_table(inputs: ReportInputs) -> Table | None:
    """Return what thresholds set for an aim reach; first the threshold of the calls."""
    found = inputs.evaluation.operating_points
    if not found:
        return None
    points: tuple[Rates, ...] = (inputs.evaluation.patient, *found)
    return table_of(
        points,
        f"Operating points, with {confidence_text(inputs)}",
        Column(
            "Threshold set for",
            lambda point: (
                f"Aim: {point.target}" if isinstance(point, OperatingPoint) else "As called"
            ),
        ),
        Column(
            "Threshold",
            lambda point: (
                _cut(point.threshold) if isinstance(point, OperatingPoint) else "one a fold"
            ),
        ),
        *(figure_column(label_of(name), name) for name in _POINT_METRICS),
    )


def predictive_table(inputs: ReportInputs) -> Table | None:
    """Return PPV and NPV where the positive label is rarer or more common."""
    return table_of(
        inputs.evaluation.predictive_values,
        f"Predictive values by prevalence, with {confidence_text(inputs)}",
        Column(f"Patients with {inputs.task.positive}", lambda entry: percent(entry.prevalence)),
        Column("PPV", lambda entry: stacked(entry.ppv)),
        Column("NPV", lambda entry: stacked(entry.npv)),
    )


def utility_sentences(inputs: ReportInputs) -> list[str]:
    """Return from which thresholds on acting on the score is shown to be worth it."""
    curve = inputs.evaluation.decision_curve
    above = [gain.ci_low is not None and gain.ci_low > 0 for gain in curve.gain]
    if not any(above):
        return [
            "At no threshold is acting on the score shown to be better than treating everybody or "
            "nobody."
        ]
    listed = ", ".join(_stretches(curve.thresholds, above))
    return [
        "Acting on the score is shown to be better than treating everybody and treating nobody at "
        f"thresholds of {listed}: there the interval of the gain lies above 0."
    ]


def _stretches(thresholds: Sequence[float], chosen: Sequence[bool]) -> list[str]:
    """Return the chosen thresholds, neighbours joined: '20 % to 65 %', '80 %'."""
    texts = []
    for is_chosen, run in itertools.groupby(
        zip(thresholds, chosen, strict=True), key=lambda pair: pair[1]
    ):
        stretch = [percent(threshold) for threshold, _ in run]
        if is_chosen:
            texts.append(" to ".join(dict.fromkeys((stretch[0], stretch[-1]))))
    return texts


def _cut(cut: ThresholdRange) -> str:
    return f"{number(cut.mean)}\n{number(cut.min)} to {number(cut.max)} over folds"
