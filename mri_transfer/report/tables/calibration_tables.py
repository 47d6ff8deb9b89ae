"""The tables of calibration: distances from the diagonal, the Brier score's parts, the curves."""

from __future__ import annotations

from mri_transfer.report.blocks.cells import (
    Column,
    Table,
    confidence_text,
    measure_table,
    table_of,
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
    """Return intercept, slope, and the distances of the smooth curve."""
    found = inputs.evaluation.patient
    rows = [(label_of(name), getattr(found, name), METRICS[name].meaning) for name in CALIBRATION]
    return measure_table("How far scores are from probabilities", rows, inputs)


def brier_table(inputs: ReportInputs) -> Table | None:
    """Return what the Brier score is made of."""
    found = inputs.evaluation.brier_parts
    rows = [(title, getattr(found, key), words) for key, (title, words) in _BRIER_PARTS.items()]
    return measure_table("Parts of the Brier score", rows, inputs)


def group_points(inputs: ReportInputs) -> Table | None:
    """Return the groups of patients behind the calibration plot."""
    curve = inputs.evaluation.calibration
    points = zip(curve.predicted, curve.observed, curve.ci_low, curve.ci_high, curve.n, strict=True)
    return table_of(
        points,
        "Groups of patients by score",
        Column("Mean score", lambda point: number(point[0])),
        Column(
            f"Observed share ({confidence_text(inputs)})",
            lambda point: _point(point[1], point[2], point[3]),
        ),
        Column("Patients", lambda point: count(point[4])),
    )


def smooth_points(inputs: ReportInputs) -> Table | None:
    """Return the points of the smooth calibration curve."""
    curve = inputs.evaluation.calibration.smooth
    missing = (None,) * len(curve.predicted)
    points = zip(
        curve.predicted, curve.observed, curve.ci_low or missing, curve.ci_high or missing,
        strict=True,
    )  # fmt: skip
    return table_of(
        points,
        f"Smooth curve: {curve.method}",
        Column("Score", lambda point: number(point[0])),
        Column(
            f"Expected share ({confidence_text(inputs)})",
            lambda point: _point(point[1], point[2], point[3], curve.reason),
        ),
    )


def calibration_sentences(inputs: ReportInputs) -> list[str]:
    """Return what chance makes of the ICI, and how the Brier score adds up."""
    patient, parts = inputs.evaluation.patient, inputs.evaluation.brier_parts
    sentences = []
    ici, chance = patient.ici, patient.ici_if_calibrated
    if ici.value is not None and chance.value is not None:
        sentences.append(
            f"Mean distance from perfect calibration (integrated calibration index, ICI): "
            f"{number(ici.value)}. Perfectly calibrated scores would show "
            f"{number(chance.value)} on average in a cohort of this size (central range "
            f"{interval(chance)})."
        )
    figures = (patient.brier, parts.miscalibration, parts.discrimination, parts.uncertainty)
    if all(figure.value is not None for figure in figures):
        total, miscalibration, discrimination, uncertainty = (
            number(figure.value) for figure in figures
        )
        sentences.append(
            f"Brier score {total} = miscalibration {miscalibration} \u2212 discrimination "
            f"{discrimination} + uncertainty {uncertainty}."
        )
    if inputs.evaluation.calibration.smooth.reason:
        reason = inputs.evaluation.calibration.smooth.reason
        sentences.append(f"The smooth curve has no band: {reason}.")
    return sentences


def _point(value: float, low: float | None, high: float | None, reason: str | None = None) -> str:
    if low is None or high is None:
        return f"{number(value)}\nno interval: {reason or 'no interval was computed'}"
    return f"{number(value)}\n{number(low)}\u00a0to\u00a0{number(high)}"
