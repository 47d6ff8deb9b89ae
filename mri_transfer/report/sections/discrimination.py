"""How well scores separate patients: metrics, classes, slices; curve and counts: the summary."""

from __future__ import annotations

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import (
    figure,
    folded,
    how,
    joined,
    section_of,
)
from mri_transfer.report.blocks.document import Block, Heading, Section, Text
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables import class_tables, tables
from mri_transfer.report.tables.calls import confusion_block

__all__ = ["discrimination_section"]

_CALLS = "Patients. Rows: reference standard. Columns: the model's call."


def discrimination_section(inputs: ReportInputs) -> Section:
    """Return discrimination by patient, then among three classes or more, then by slice."""
    return section_of(
        "discrimination",
        "Discrimination: how well the score separates patients",
        _patient_scores(inputs),
        tables.main_metrics(inputs),
        how(
            "The interval covers the sampling of patients. Repeats of the cross-validation do not "
            "narrow it: they use the same patients. PPV and NPV hold only for this mix of labels."
        ),
        _classes(inputs),
        folded(
            "All metrics by patient, by repeat and by fold",
            tables.metric_table(inputs),
            tables.repeat_table(inputs),
            tables.fold_table(inputs),
        ),
        _slices(inputs),
        short="Discrimination",
    )


def _patient_scores(inputs: ReportInputs) -> Block | None:
    if not len(inputs.patient_scores):
        return None
    has_dots = inputs.patient_scores["patient_id"].nunique() <= figures.MAX_DOTS
    what = "Each dot is a patient" if has_dots else "Heights are numbers of patients"
    return figure(
        "patient-scores",
        figures.draw_patient_scores(inputs.patient_scores, labels=inputs.task.labels),
        f"{what}; further right is more like {inputs.task.positive}. Where the groups overlap, "
        "the score does not separate them.",
        tables.patient_list(inputs),
    )


def _slices(inputs: ReportInputs) -> Block | None:
    profile = None
    if len(inputs.slice_scores):
        profile = figure(
            "slice-profile",
            figures.draw_slice_profile(tables.slice_profile(inputs), labels=inputs.task.labels),
            "Mean slice score by height: where the lines part, slices separate the labels.",
            tables.profile_table(inputs),
        )
    return folded(
        "By slice: not the answer",
        Text(
            text="Slices of a patient are nearly copies of each other, so these figures are not "
            "evidence about patients. They are for comparison with studies that report them."
        ),
        tables.slice_table(inputs),
        profile,
    )


def _classes(inputs: ReportInputs) -> tuple[Block, ...]:
    found = inputs.evaluation.classes
    if found is None:
        return ()
    positive = inputs.task.positive
    return joined(
        Heading(text="Three classes or more"),
        Text(
            text=f"All else in this report is about {positive} against all other classes together. "
            f"Here each of {', '.join(map(spelt_out, found.classes))} is separated from the rest, "
            "and a patient is called what scores highest."
        ),
        class_tables.class_table(inputs),
        class_tables.macro_table(inputs),
        confusion_block(_CALLS, found.classes, found.confusion),
        how("A figure over all classes hides which are confused; the cross-tabulation shows it."),
    )
