"""The clinical summary below the first screen: the answer in figures, and its use."""

from __future__ import annotations

from collections.abc import Iterator

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import beside, bullets, figure, missing, section_of
from mri_transfer.report.blocks.cells import Column, confidence_text, stacked, table_of
from mri_transfer.report.blocks.document import Block, Heading, Link, Section, Table, Text
from mri_transfer.report.blocks.wording import number, spelt_names
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.sections.calibration import calibration_plot
from mri_transfer.report.summary import threshold
from mri_transfer.report.tables import tables
from mri_transfer.report.tables.calls import confusion_block, rounding_text
from mri_transfer.report.tables.comparison_tables import sorted_baselines

__all__ = ["summary_section"]

#: Baselines of covariates that the summary compares with, the best first; worse than guessing none.
_MAX_BASELINES = 5


def summary_section(inputs: ReportInputs) -> Section:
    """Return curve, counts, calibration, the comparison with age and volumetry, and the use."""
    evaluation = inputs.evaluation
    return section_of(
        "summary",
        "The answer in figures",
        beside(_roc(inputs), calibration_plot(inputs)),
        Heading(text="At the threshold"),
        beside(
            confusion_block(
                "Patients by label (rows) and by the model's call (columns)",
                evaluation.confusion.labels,
                evaluation.confusion.matrix,
            ),
            Text(
                text=f"{threshold(inputs)} {rounding_text(evaluation.n_repeats)}".strip(),
                role="note",
            ),
        ),
        Heading(text="Compared with age and volumetry"),
        _comparison(inputs)
        or missing("Neither age nor volumes are known, or they rank no better than guessing."),
        Heading(text="What it may be used for"),
        bullets(_uses(inputs)),
        Heading(text="What it may not be used for"),
        bullets(_misuses(inputs)),
        Text(
            text="Every limit of this run:", links=(Link(text="Limits of use", target="#limits"),)
        ),
        short="In figures",
    )


def _roc(inputs: ReportInputs) -> Block:
    n_repeats = inputs.evaluation.n_repeats
    mean = f", mean of {n_repeats} repeats" if n_repeats > 1 else ""
    return figure(
        "roc",
        figures.draw_roc(inputs.evaluation),
        f"ROC curve{mean}. Area under it (AUC): {number(inputs.evaluation.roc.auc)}. Dotted: "
        "guessing. Dot: the threshold used.",
        tables.roc_table(inputs),
    )


def _comparison(inputs: ReportInputs) -> Table | None:
    """Return the AUC of the scan beside what is known without it; None where nothing is."""
    known = [
        (name, one)
        for name, one in sorted_baselines(inputs.evaluation).items()
        if one.kind == "covariates" and (one.auc.value or 0.0) > 0.5
    ][:_MAX_BASELINES]
    if not known:
        return None
    rows = [
        ("MRI: this model", stacked(inputs.evaluation.patient.auc, 2), ""),
        *(
            (spelt_names(name), stacked(one.auc, 2), stacked(one.auc_difference, 2))
            for name, one in known
        ),
    ]
    return table_of(
        rows,
        f"AUC on the same patients and folds, with {confidence_text(inputs)}",
        Column("Scored by", lambda row: row[0][:1].upper() + row[0][1:]),
        Column("AUC", lambda row: row[1]),
        Column("Model minus this", lambda row: row[2]),
        name="summary-comparison",
    )


def _uses(inputs: ReportInputs) -> Iterator[str]:
    evaluation = inputs.evaluation
    if evaluation.synthetic:
        yield "To check that the software works. No patient was studied."
        return
    if evaluation.trunk_weights == "random":
        yield "As a control, to see what pretrained weights add."
        return
    yield "Research on patients like these: comparing methods, planning an external test."
    span = evaluation.patient.auc.interval
    if span is not None and span[0] > 0.5:
        yield "As a hypothesis to be tested in another cohort, with the analysis fixed beforehand."


def _misuses(inputs: ReportInputs) -> Iterator[str]:
    """Yield what nobody may do with the scores, by what was and was not tested here."""
    evaluation = inputs.evaluation
    negative, positive = map(spelt_out, inputs.task.labels)
    yield (
        "Diagnosis, screening or any decision about a patient: this is research software, not a "
        "medical device."
    )
    ages = inputs.evaluated["age"].dropna() if "age" in inputs.evaluated else ()
    aged = f" Ages outside {min(ages):.0f} to {max(ages):.0f} were not tested." if len(ages) else ""
    yield (
        f"Patients with other conditions: all were labelled {positive} or {negative}.{aged}"
        if not inputs.settings.labels.classes
        else f"Patients with conditions that were not among the labels.{aged}"
    )
    yield "Other hospitals and scanners, before an external test there."
    share = 100 * evaluation.n_positive / evaluation.n_patients
    yield (
        f"Reading the score as a patient's risk: {number(share, 0)}\u00a0% of these patients are "
        f"labelled {inputs.task.positive}; elsewhere the share differs, and risk with it."
    )
    yield "Saying where disease is: maps show what moved the score, not pathology."
