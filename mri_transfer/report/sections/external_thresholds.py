"""Section of an external test: what calls reach, at the bundle's thresholds and at others."""

from __future__ import annotations

from mri_transfer.evaluation.external.document import Rechosen
from mri_transfer.report.blocks.blocks import how, missing, section_of
from mri_transfer.report.blocks.cells import stacked
from mri_transfer.report.blocks.document import Heading, Row, Section, Table
from mri_transfer.report.blocks.wording import label_of, number
from mri_transfer.report.external_inputs import ExternalInputs
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.utility_tables import predictive_table

__all__ = ["thresholds_section"]

_RATES = ("sensitivity", "specificity", "balanced_accuracy", "ppv", "npv")


def thresholds_section(inputs: ExternalInputs, evaluated: ReportInputs) -> Section:
    """Return transported thresholds beside those that this cohort would choose."""
    document, rechosen = inputs.document, inputs.everybody.rechosen
    assert rechosen is not None  # of patients of both labels
    figures_here = inputs.everybody.figures
    rows = []
    if document.threshold.used == "bundle":
        rows.append(
            Row(
                "From the bundle (transported)",
                (
                    number(document.threshold.bundle),
                    *(stacked(getattr(figures_here, name)) for name in _RATES),
                ),
            )
        )
    else:
        rows.append(Row("From the bundle", (number(document.threshold.bundle),
                    *("not the calls of this report" for _ in _RATES))))  # fmt: skip
    for point in evaluated.evaluation.operating_points:
        cells = (number(point.threshold.mean), *(stacked(getattr(point, name)) for name in _RATES))
        rows.append(Row(f"From the bundle, aim: {point.target}", cells))
    rows += _rechosen_rows(rechosen)
    return section_of(
        "thresholds",
        "Thresholds, from the bundle and chosen on this cohort",
        Table(
            name="thresholds",
            caption="What calls at each threshold reach",
            columns=("Threshold", "Score", *map(label_of, _RATES)),
            rows=tuple(rows),
        ),
        how(
            "The bundle's thresholds were set before this cohort was seen. A threshold chosen on "
            "the patients it is tried on looks better than it is: the row marked optimistic. The "
            "row below it calls each part of the cohort by thresholds that the rest chose, and is "
            "what such a threshold reaches."
        ),
        missing(f"No threshold was chosen on this cohort: {rechosen.reason}.")
        if rechosen.threshold is None
        else None,
        Heading(text="Predictive values where the label is rarer"),
        predictive_table(evaluated),
        how("If sensitivity and specificity stay the same where the label is rarer."),
        short="Thresholds",
    )


def _rechosen_rows(rechosen: Rechosen) -> list[Row]:
    if rechosen.threshold is None:
        return []
    apparent, honest = rechosen.apparent or {}, rechosen.cross_validated or {}
    return [
        Row(
            "Chosen on these patients (optimistic)",
            (number(rechosen.threshold), *(number(apparent[name]) for name in _RATES)),
            note="no interval: chosen on the patients it is tried on",
            state="quiet",
        ),
        Row(
            "Chosen on these patients, cross-validated",
            ("one a part", *(stacked(honest[name]) for name in _RATES)),
            note=str(rechosen.method),
        ),
    ]
