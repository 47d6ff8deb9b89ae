"""The patients whom the scores fail most."""

from __future__ import annotations

from mri_transfer.report.blocks.blocks import how, section_of, shown_or_missing
from mri_transfer.report.blocks.document import Section, Text
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.group_tables import failure_table

__all__ = ["failures_section"]


def failures_section(inputs: ReportInputs) -> Section:
    """Return the patients whose scores are furthest from their label."""
    content = shown_or_missing(
        failure_table(inputs),
        "No patient was singled out.",
        before=Text(
            text="The patients whose scores are furthest from their label. A confident error may "
            "be a wrong label, a faulty scan, or the model's limit; look at these scans."
        ),
        after=how(
            "Log loss penalises a score: 0.69 for a score of one half, 0 for one that is confident "
            "and correct, more than 2.3 where the patient's own label got less than 0.1."
        ),
    )
    title = "Failures: where scores are furthest from labels"
    return section_of("failures", title, content, short="Failures")
