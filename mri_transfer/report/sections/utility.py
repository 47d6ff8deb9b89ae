"""What acting on the scores would bring: decision curve, operating points, predictive values."""

from __future__ import annotations

from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import (
    beside,
    figure,
    findings,
    folded,
    how,
    joined,
    section_of,
    shown_or_missing,
)
from mri_transfer.report.blocks.document import Block, Section, Text
from mri_transfer.report.blocks.wording import spelt_names
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables import utility_tables as tables

__all__ = ["utility_section"]


def utility_section(inputs: ReportInputs) -> Section:
    """Return decision curve, operating points, and predictive values by prevalence."""
    return section_of(
        "utility",
        "Utility: would acting on the score help?",
        _decision(inputs),
        folded("Operating points: thresholds set for an aim", _operating(inputs)),
        folded("Predictive values where the label is rarer", _predictive(inputs)),
        short="Utility",
    )


def _decision(inputs: ReportInputs) -> tuple[Block, ...]:
    curve = inputs.evaluation.decision_curve
    baseline = tables.curve_baseline(inputs)
    caption = (
        "Decision curve: net benefit by threshold. Blue: this model with its band. Grey: treat "
        "everybody. Dotted: treat nobody."
    )
    if baseline:
        caption += f" Orange: the best baseline of covariates ({spelt_names(baseline)})."
    plot = figure(
        "decision-curve",
        figures.draw_decision_curve(curve, baseline=baseline),
        caption,
        tables.decision_table(inputs, whole=True),
    )
    return joined(
        findings(tables.utility_sentences(inputs)),
        beside(
            plot,
            how(
                "Acting from a probability of 20 % on accepts four needless actions for each "
                "needed one. Net benefit counts needed actions minus needless ones at that price. "
                "The model is useful where its line lies above both treating everybody and "
                "treating nobody. Whether any action is worthwhile is not for this report to say."
            ),
        ),
        folded("Net benefit in numbers", tables.decision_table(inputs, whole=False)),
    )


def _operating(inputs: ReportInputs) -> tuple[Block, ...]:
    return shown_or_missing(
        tables.operating_table(inputs),
        "No operating points were computed: the configuration names no aim.",
        before=Text(
            text="Thresholds set on the training patients of each fold for a stated aim, and what "
            "they reach on patients held out. The aim itself need not be reached there."
        ),
        after=how(
            "A likelihood ratio says by what factor a call multiplies the odds of the label "
            f"{inputs.task.positive}; unlike PPV and NPV it does not depend on how common the "
            "label is. 1 means that the call says nothing; for a positive call more than 10, for a "
            "negative call less than 0.1 would be strong evidence."
        ),
    )


def _predictive(inputs: ReportInputs) -> tuple[Block, ...]:
    return shown_or_missing(
        tables.predictive_table(inputs),
        "No predictive values by prevalence were computed.",
        before=Text(
            text="What sensitivity and specificity at the threshold of the calls would give where "
            f"another share of patients is {inputs.task.positive}. This assumes that both stay the "
            "same there, which only a cohort from there can show."
        ),
    )
