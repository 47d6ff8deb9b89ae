"""What else the features tell, and whether the score could have used it."""

from __future__ import annotations

from mri_transfer.report.blocks.blocks import bullets, how, missing, section_of
from mri_transfer.report.blocks.document import Section, Text
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.audit_tables import shortcut_sentences, shortcut_table

__all__ = ["shortcuts_section"]


def shortcuts_section(inputs: ReportInputs) -> Section:
    """Return the covariates that the features tell, with the audit's verdict on each."""
    name, title = "shortcuts", "Shortcuts"
    table = shortcut_table(inputs)
    if table is None:
        return section_of(name, title, title, missing("Shortcuts were not probed."))
    return section_of(
        name,
        title,
        title,
        Text(
            text="What else the features tell, among patients of one label, and whether the score "
            "could have used it."
        ),
        bullets(f"{name}: {sentence}" for name, sentence in shortcut_sentences(inputs)),
        table,
        how(
            "A shortcut needs two things: the features must tell the covariate, and it must go "
            "with the label in this cohort. Where only the first holds, the score can owe little "
            "to it here, and may elsewhere."
        ),
    )
