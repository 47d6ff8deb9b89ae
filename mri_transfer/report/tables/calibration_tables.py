"""The tables of calibration: distances from the diagonal, the Brier score's parts, the curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mri_transfer.report.blocks.cells import (
    Row,
    Table,
    confidence_text,
    method_of,
    stacked,
    value_and_interval,
)
from mri_transfer.report.blocks.wording import METRICS, count, interval, label_of, number
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "CALIBRATION",
    "brier_table",
    "calibration_sentences",
    "calibration_table",
    "group_points",
    "smooth_points",
]

#: The patient-level metrics that are about calibration, in the order of their table.
CALIBRATION = (
    "calibration_intercept",
    "calibration_slope",
    "ici",
    "e50",
    "e90",
    "emax",
    "ici_if_calibrated",
    "brier",
)
_BRIER_PARTS = {
    "miscalibration": (
        "Miscalibration",
        "What recalibration would take off the score; 0 is best",
    ),
    "discrimination": (
        "Discrimination",
        "What telling patients apart takes off the score; 0 is worst",
    ),
    "uncertainty": (
        "Uncertainty",
        "The score of giving everybody the cohort's share of positive labels",
    ),
    "scaled_brier": (
        "Scaled Brier score",
        "1 is perfect, 0 as good as giving everybody that share, below 0 worse",
    ),
    "miscalibration_if_calibrated": (
        "Miscalibration by chance",
        "What it would be were the scores right: mean and central range, no interval",
    ),
}


def calibration_table(inputs: ReportInputs) -> Table | None:
    """Return intercept, slope, and the distances of the smooth curve; None without any."""
    found = inputs.evaluation["patient"]
    rows = [
        Row(
            label_of(name),
            (*value_and_interval(found[name]), method_of(found[name])),
            note=METRICS[name].meaning,
        )
        for name in CALIBRATION
        if name in found
    ]
    return _estimates("How far scores are from probabilities", rows, inputs) if rows else None


def brier_table(inputs: ReportInputs) -> Table | None:
    """Return what the Brier score is made of; None where it was not taken apart."""
    found = inputs.evaluation.get("brier_parts") or {}
    rows = [
        Row(title, (*value_and_interval(found[name]), method_of(found[name])), note=meaning)
        for name, (title, meaning) in _BRIER_PARTS.items()
        if name in found
    ]
    return _estimates("Parts of the Brier score", rows, inputs) if rows else None


def group_points(inputs: ReportInputs) -> Table | None:
    """Return the groups of patients behind the calibration plot."""
    curve = inputs.evaluation.get("calibration") or {}
    names = ("predicted", "observed", "ci_low", "ci_high", "n")
    rows = [
        Row(
            number(predicted),
            (stacked(_point(observed, low, high)), count(n)),
        )
        for predicted, observed, low, high, n in _columns(curve, names)
    ]
    columns = ("Mean score", f"Observed share ({confidence_text(inputs)})", "Patients")
    caption = "Groups of patients by score"
    return Table(caption=caption, columns=columns, rows=tuple(rows)) if rows else None


def smooth_points(inputs: ReportInputs) -> Table | None:
    """Return the points of the smooth calibration curve; None where there is none."""
    curve = (inputs.evaluation.get("calibration") or {}).get("smooth") or {}
    names = ("predicted", "observed", "ci_low", "ci_high")
    reason = curve.get("reason")
    rows = [
        Row(number(predicted), (stacked(_point(observed, low, high, reason)),))
        for predicted, observed, low, high in _columns(curve, names)
    ]
    columns = ("Score", f"Expected share ({confidence_text(inputs)})")
    caption = f"Smooth curve: {method_of(curve)}"
    return Table(caption=caption, columns=columns, rows=tuple(rows)) if rows else None


def calibration_sentences(inputs: ReportInputs) -> list[str]:
    """Return what chance makes of the ICI, and how the Brier score adds up."""
    patient = inputs.evaluation["patient"]
    sentences = []
    ici, chance = patient.get("ici", {}), patient.get("ici_if_calibrated", {})
    if ici.get("value") is not None and chance.get("value") is not None:
        sentences.append(
            f"The ICI of {number(ici['value'])} is to be read against chance: with so many "
            "patients, scores that were exactly right would still show an ICI of "
            f"{number(chance['value'])} on average (central range {interval(chance)})."
        )
    parts = inputs.evaluation.get("brier_parts") or {}
    values = [
        (patient.get("brier") or {}).get("value"),
        *((parts.get(name) or {}).get("value") for name in list(_BRIER_PARTS)[:3]),
    ]
    if None not in values:
        total, miscalibration, discrimination, uncertainty = map(number, values)
        sentences.append(
            f"Brier score {total} = miscalibration {miscalibration} \u2212 discrimination "
            f"{discrimination} + uncertainty {uncertainty}."
        )
    reason = ((inputs.evaluation.get("calibration") or {}).get("smooth") or {}).get("reason")
    if reason:
        sentences.append(f"The smooth curve has no band: {reason}.")
    return sentences


def _estimates(caption: str, rows: Sequence[Row], inputs: ReportInputs) -> Table:
    columns = ("Measure", "Value", confidence_text(inputs), "Interval by")
    return Table(caption=caption, columns=columns, rows=tuple(rows), wide=("Interval by",))


def _columns(curve: Mapping[str, Any], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows of lists of one length; a list that is missing counts as empty cells."""
    length = len(curve.get(names[0]) or ())
    return list(zip(*(curve.get(name) or [None] * length for name in names), strict=True))


def _point(
    value: float | None, low: float | None, high: float | None, reason: str | None = None
) -> dict[str, Any]:
    return {"value": value, "ci_low": low, "ci_high": high, "reason": reason}
