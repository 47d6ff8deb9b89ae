"""The tables of clinical utility: decision curve, operating points, predictive values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from mri_transfer.report.blocks.cells import Row, Table, confidence_text, percent, stacked
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
    others = (inputs.evaluation.get("decision_curve") or {}).get("others") or {}
    return best_baseline(inputs.evaluation, among=others)


def decision_table(inputs: ReportInputs, *, whole: bool) -> Table | None:
    """Return the decision curve in numbers: every threshold, or every tenth of the scale."""
    curve = inputs.evaluation.get("decision_curve") or {}
    other = curve_baseline(inputs)
    rows = [
        Row(percent(threshold), _curve_cells(curve, i, other, whole=whole))
        for i, threshold in enumerate(curve.get("thresholds") or ())
        if whole or abs(10 * threshold - round(10 * threshold)) < 1e-6
    ]
    if not rows:
        return None
    columns = ["Act from", "Model", "Treat all", "Gain over all and none"]
    if other:
        columns += [other, f"Model minus {other}"] if whole else [other]
    caption = f"Net benefit by threshold, with {confidence_text(inputs)}"
    return Table(caption=caption, columns=tuple(columns), rows=tuple(rows))


def operating_table(inputs: ReportInputs) -> Table | None:
    """Return what thresholds set for an aim reach; first the threshold of the calls."""
    found = inputs.evaluation.get("operating_points") or []
    if not found:
        return None
    rows = [Row("As called", ("one a fold", *_point_cells(inputs.evaluation["patient"])))]
    for point in found:
        cut = point["threshold"]
        text = f"{number(cut['mean'])}\n{number(cut['min'])} to {number(cut['max'])} over folds"
        rows.append(Row(f"Aim: {point['target']}", (text, *_point_cells(point))))
    return Table(
        caption=f"Operating points, with {confidence_text(inputs)}",
        columns=("Threshold set for", "Threshold", *map(label_of, _POINT_METRICS)),
        rows=tuple(rows),
    )


def predictive_table(inputs: ReportInputs) -> Table | None:
    """Return PPV and NPV where the positive label is rarer or more common."""
    rows = [
        Row(percent(entry["prevalence"]), (stacked(entry["ppv"]), stacked(entry["npv"])))
        for entry in inputs.evaluation.get("predictive_values") or []
    ]
    if not rows:
        return None
    return Table(
        caption=f"Predictive values by prevalence, with {confidence_text(inputs)}",
        columns=(f"Patients with {inputs.labels[1]}", "PPV", "NPV"),
        rows=tuple(rows),
    )


def utility_sentences(inputs: ReportInputs) -> list[str]:
    """Return from which thresholds on acting on the score is shown to be worth it."""
    curve = inputs.evaluation.get("decision_curve") or {}
    if not curve.get("thresholds"):
        return []
    above = [gain.get("ci_low") is not None and gain["ci_low"] > 0 for gain in curve["gain"]]
    if not any(above):
        return [
            "At no threshold is acting on the score shown to be better than treating everybody or "
            "nobody."
        ]
    listed = ", ".join(_stretches(curve["thresholds"], above))
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


def _curve_cells(
    curve: Mapping[str, Any], i: int, other: str | None, *, whole: bool
) -> tuple[str, ...]:
    model = stacked(curve["model"][i])
    cells = [
        model if whole else model.split("\n")[0],
        number(curve["treat_all"][i]),
        stacked(curve["gain"][i]),
    ]
    if other:
        cells.append(number(curve["others"][other]["net_benefit"][i]))
        if whole:
            cells.append(stacked(curve["others"][other]["difference"][i]))
    return tuple(cells)


def _point_cells(point: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(stacked(point.get(name, {})) for name in _POINT_METRICS)
