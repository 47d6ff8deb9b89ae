"""What else the features tell, and whether the score could have used it."""

from __future__ import annotations

from mri_transfer.report.blocks.blocks import bullets, how, section_of, shown_or_missing
from mri_transfer.report.blocks.document import Section, Text
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.audit_tables import shortcut_sentences, shortcut_table

__all__ = ["shortcuts_section"]


def shortcuts_section(inputs: ReportInputs) -> Section:
    """Return the covariates that the features tell, with the audit's verdict on each."""
    sentences = [f"{name}: {sentence}" for name, sentence in shortcut_sentences(inputs)]
    content = shown_or_missing(
        shortcut_table(inputs),
        "Shortcuts were not probed.",
        before=[
            Text(
                text="What else the features tell, among patients of one label, and whether the "
                "score could have used it."
            ),
            bullets(sentences),
        ],
        after=how(
            "A shortcut needs two things: the features must tell the covariate, and it must go "
            "with the label in this cohort. Where only the first holds, the score can owe little "
            "to it here, and may elsewhere."
        ),
    )
    return section_of("shortcuts", "Shortcuts", content)
