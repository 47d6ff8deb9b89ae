"""The model beside simpler ones, and the image beside what is known without it."""

from __future__ import annotations

from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import (
    bullets,
    figure,
    findings,
    folded,
    how,
    joined,
    missing,
    section_of,
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
        Heading(text="Does the scan add to what is known without it?"),
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
            text="Simpler models on the same patients and folds: what is known without the scan, "
            "and simpler image features. The network is justified only where it is better."
        ),
        findings(text for text in [comparison(inputs)] if text),
        figure(
            "auc-comparison",
            figures.draw_auc_comparison(inputs.evaluation.patient.auc, scored),
            "AUC by patient with its interval.",
            tables.auc_table(inputs),
        ),
        folded(
            "Differences with intervals and p values",
            table,
            how(
                "Differences compare model and baseline on the same patients. Where an interval "
                "includes 0, this cohort does not show that one is better. DeLong and the "
                "bootstrap take the trained heads as given; the corrected t interval over folds "
                "also allows for other training patients."
            ),
            _below_guessing(inputs),
        ),
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
    table = tables.image_value_table(inputs)
    if table is None:
        return (missing("Not computed: there is no baseline of covariates to add the scan to."),)
    return joined(
        Text(
            text="Covariates and the scan's score in one model, fitted inside the folds, against "
            "the covariates alone."
        ),
        bullets(tables.image_value_sentences(inputs)),
        folded(
            "Joined models in numbers",
            table,
            how(
                "Go by the difference of the joined AUC. The uncorrected p value of the likelihood "
                "ratio test is too small: in cross-validation every patient helped to train the "
                "heads that scored the others. The corrected one is one-sided and allows for that."
            ),
        ),
    )
