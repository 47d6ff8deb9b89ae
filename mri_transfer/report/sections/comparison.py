"""The model beside simpler ones, and the image beside what is known without it."""

from __future__ import annotations

from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import (
    figure,
    findings,
    folded,
    how,
    joined,
    missing,
    section_of,
    shown_or_missing,
)
from mri_transfer.report.blocks.document import Block, Heading, Section, Text
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.summary import comparison
from mri_transfer.report.tables import comparison_tables as tables

__all__ = ["comparison_section"]


def comparison_section(inputs: ReportInputs) -> Section:
    """Return the comparison with baselines, and what the image adds to covariates."""
    return section_of(
        "comparison",
        "Comparison with baselines",
        _baselines(inputs),
        Heading(text="Does the image add to age and sex?"),
        _image_value(inputs),
        short="Comparison",
    )


def _baselines(inputs: ReportInputs) -> tuple[Block, ...]:
    table = tables.baseline_table(inputs)
    if table is None:
        return (missing("No baseline was computed: the configuration names no covariate."),)
    scored = {name: one.auc for name, one in tables.sorted_baselines(inputs.evaluation).items()}
    return joined(
        Text(
            text="How simpler models do on the same patients and folds: a constant, what is known "
            "about a patient without the scan, and simpler image features. The trunk is justified "
            "only where it improves on these."
        ),
        findings(text for text in [comparison(inputs)] if text),
        figure(
            "auc-comparison",
            figures.draw_auc_comparison(inputs.evaluation.patient.auc, scored),
            "AUC by patient with its interval.",
            tables.auc_table(inputs),
        ),
        table,
        how(
            "The differences compare model and baseline on the same patients. If an interval "
            "includes 0, this cohort does not show that one is better than the other. DeLong and "
            "the bootstrap take the heads as they are; the corrected t interval over folds also "
            "counts that other training patients would give other heads."
        ),
        _below_guessing(inputs),
        folded("Calls at the threshold: McNemar's test", tables.mcnemar_table(inputs)),
    )


def _below_guessing(inputs: ReportInputs) -> Block | None:
    """Explain baselines below 0.5, which look like a fault and are none."""
    names = [
        f"{name} ({number(entry.auc.value, 2)})"
        for name, entry in tables.sorted_baselines(inputs.evaluation).items()
        if (entry.auc.value or 1.0) < 0.5
    ]
    if not names:
        return None
    return how(
        f"Below 0.50: {', '.join(names)}. Such a baseline has no information that separates the "
        "labels. Folds hold the labels in equal shares, so a fold that holds out more positive "
        "patients of one kind (of one sex, say) leaves fewer of them to train on, and the baseline "
        "is biased against exactly those held out. Beating it is no achievement, so the model "
        "is not tested against it: guessing, 0.50, is the bar."
    )


def _image_value(inputs: ReportInputs) -> tuple[Block, ...]:
    return shown_or_missing(
        tables.image_value_table(inputs),
        "Not computed: there is no baseline of covariates to join the image with.",
        before=[
            Text(
                text="A model of the covariates and the image's score together, fitted inside the "
                "folds, against the covariates alone."
            ),
            *findings(tables.image_value_sentences(inputs)),
        ],
        after=how(
            "The difference of the joined AUC is the figure to go by. The uncorrected p value of "
            "the likelihood ratio test is optimistic: its scores come from cross-validation, where "
            "every patient helped to train the heads that scored the others. Where a corrected p "
            "value is given, it is one-sided and allows for that; a borderline p proves nothing "
            "either way."
        ),
    )
