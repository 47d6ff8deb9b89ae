"""Whether a score can be read as a probability."""

from __future__ import annotations

from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import beside, figure, findings, how, section_of
from mri_transfer.report.blocks.document import Block, Section
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables import calibration_tables as tables

__all__ = ["calibration_section"]


def calibration_section(inputs: ReportInputs) -> Section:
    """Return the calibration plot, its measures, and the parts of the Brier score."""
    return section_of(
        "calibration",
        "Calibration",
        beside(_plot(inputs), _reading(inputs)),
        findings(tables.calibration_sentences(inputs)),
        tables.calibration_table(inputs),
        tables.brier_table(inputs),
        how(
            "Intercept and slope compare scores and outcomes on the log-odds scale. The Brier "
            "score mixes calibration and discrimination; its parts tell them apart."
        ),
    )


def _plot(inputs: ReportInputs) -> Block:
    return figure(
        "calibration",
        figures.draw_calibration(inputs.evaluation),
        "Dotted: perfect calibration. Each point is a group of patients, the line its interval. "
        "The curve is the share that a smoother expects at each score, with its band.",
        tables.group_points(inputs),
        tables.smooth_points(inputs),
    )


def _reading(inputs: ReportInputs) -> Block:
    positive = inputs.task.positive
    return how(
        "Points and curve on the dotted line mean that a score can be read as a probability: of "
        f"patients scored near 0.7, about 7 in 10 carry the label {positive}. Below the line "
        "scores are too high, above it too low. Calibration holds for a cohort with this share of "
        f"{positive}."
    )
