"""Whether a score can be read as a probability."""

from __future__ import annotations

from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import figure, findings, folded, how, section_of
from mri_transfer.report.blocks.document import Block, Section
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables import calibration_tables as tables

__all__ = ["calibration_plot", "calibration_section"]


def calibration_section(inputs: ReportInputs, *, plotted: bool = False) -> Section:
    """Return the measures of calibration and the parts of the Brier score.

    Parameters
    ----------
    inputs : ReportInputs
    plotted : bool
        Whether the plot stands here too. The report of a run has it in the summary.
    """
    return section_of(
        "calibration",
        "Calibration: is the score a probability?",
        calibration_plot(inputs) if plotted else None,
        findings(tables.calibration_sentences(inputs)),
        how(
            "Of patients scored near 0.7, about 7 in 10 should be labelled "
            f"{inputs.task.positive}. Intercept and slope compare scores with labels on the "
            "log-odds scale; the intercept should be 0 and the slope 1. All of it holds for a "
            f"cohort with this share of {inputs.task.positive}."
        ),
        folded("Measures of calibration", tables.calibration_table(inputs)),
        folded("Parts of the Brier score", tables.brier_table(inputs)),
        short="Calibration",
    )


def calibration_plot(inputs: ReportInputs) -> Block:
    """Return the calibration plot with its numbers."""
    return figure(
        "calibration",
        figures.draw_calibration(inputs.evaluation),
        "Calibration. Dots: groups of patients; curve: smoothed, with its band. On the dotted line "
        "the score is the share labelled "
        f"{inputs.task.positive}; below it scores are too high.",
        tables.group_points(inputs),
        tables.smooth_points(inputs),
    )
