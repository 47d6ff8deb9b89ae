"""How well scores tell patients apart: curve, calls, metrics; slices and classes."""

from __future__ import annotations

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import (
    beside,
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
from mri_transfer.report.summary import answer, threshold
from mri_transfer.report.tables import class_tables, tables
from mri_transfer.report.tables.calls import confusion_block, rounding_text

__all__ = ["discrimination_section"]

_CALLS = "Patients. Rows: reference standard. Columns: the model's call."


def discrimination_section(inputs: ReportInputs) -> Section:
    """Return discrimination by patient, then by slice, then among three classes or more."""
    confidence = f"{100 * inputs.evaluation.confidence:g}\u00a0%"
    return section_of(
        "discrimination",
        "Discrimination: results by patient",
        findings([answer(inputs)]),
        beside(_roc(inputs), _patient_scores(inputs)),
        how(
            "The ROC curve shows what each threshold would give: a curve along the dotted line is "
            "guessing, one in the upper left corner is perfect."
        ),
        _calls(inputs),
        Heading(text="All patient-level metrics"),
        tables.metric_table(inputs),
        how(
            "The interval is the range of values that the data leave plausible, at a confidence "
            f"of {confidence}. It is wide when patients are few; repeats of the cross-validation "
            "do not narrow it, since they use the same patients. PPV and NPV hold for the mix of "
            "labels in this cohort and change with it."
        ),
        folded(
            "Every repeat and every fold", tables.repeat_table(inputs), tables.fold_table(inputs)
        ),
        _slices(inputs),
        Heading(text="Three classes or more"),
        _classes(inputs),
        short="Discrimination",
    )


def _roc(inputs: ReportInputs) -> Block:
    curve = inputs.evaluation.roc
    n_repeats = inputs.evaluation.n_repeats
    what = "ROC curve"
    if n_repeats > 1:
        what = f"Mean of the {n_repeats} repeats' ROC curves: mean sensitivity at each specificity"
    return figure(
        "roc",
        figures.draw_roc(inputs.evaluation),
        f"{what}. The area under it, {number(curve.auc)}, is the AUC of this report.",
        tables.roc_table(inputs),
    )


def _patient_scores(inputs: ReportInputs) -> Block | None:
    if not len(inputs.patient_scores):
        return None
    return figure(
        "patient-scores",
        figures.draw_patient_scores(inputs.patient_scores, labels=inputs.task.labels),
        f"Each dot is a patient: further right is more like {inputs.task.positive}. Where the two "
        "groups overlap, the model cannot tell them apart.",
        tables.patient_list(inputs),
    )


def _calls(inputs: ReportInputs) -> tuple[Block, ...]:
    heading = Heading(text="Calls at the threshold")
    found = inputs.evaluation.confusion
    return (
        heading,
        confusion_block(_CALLS, found.labels, found.matrix),
        how(
            f"{threshold(inputs)} Calls on the diagonal agree with the reference standard; "
            f"percentages are of the row. {rounding_text(inputs.evaluation.n_repeats)}".strip()
        ),
    )


def _slices(inputs: ReportInputs) -> tuple[Block, ...]:
    profile = None
    if len(inputs.slice_scores):
        profile = figure(
            "slice-profile",
            figures.draw_slice_profile(tables.slice_profile(inputs), labels=inputs.task.labels),
            "Mean slice score by height: where the lines part, slices tell the labels apart.",
            tables.profile_table(inputs),
        )
    metrics = tables.slice_table(inputs)
    return joined(
        Heading(text="Slice level", pill="not the answer"),
        Text(
            text="One score for every slice. Slices of a patient are nearly copies of each other, "
            "so these figures are not evidence about patients; they stand here to be compared "
            "with studies that report them."
        ),
        folded(
            "Figures by slice",
            metrics,
            profile,
        ),
    )


def _classes(inputs: ReportInputs) -> tuple[Block, ...]:
    found = inputs.evaluation.classes
    if found is None:
        return (
            missing("Two labels were told apart: there are no figures of three classes or more."),
        )
    positive = inputs.task.positive
    return joined(
        Text(
            text=f"All else in this report is about {positive} against all other classes together. "
            f"Here each of {', '.join(map(spelt_out, found.classes))} is told from the rest, "
            "and a patient is called what scores highest."
        ),
        class_tables.class_table(inputs),
        class_tables.macro_table(inputs),
        confusion_block(_CALLS, found.classes, found.confusion),
        how(
            "Rows are the reference standard. A figure over all classes hides which classes are "
            "taken for each other; the cross-tabulation shows it."
        ),
    )
