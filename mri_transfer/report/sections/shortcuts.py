"""What else the features predict, and whether the score could have used it."""

from __future__ import annotations

from mri_transfer.report.blocks.blocks import bullets, folded, how, joined, missing, section_of
from mri_transfer.report.blocks.document import Block, Section
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.audit_tables import shortcut_sentences, shortcut_table

__all__ = ["shortcuts_section"]


def shortcuts_section(inputs: ReportInputs) -> Section:
    """Return the covariates that the features predict, with the audit's verdict on each."""
    table = shortcut_table(inputs)
    content: tuple[Block, ...] = (missing("Shortcuts were not tested."),)
    if table is not None:
        sentences = [f"{name}: {sentence}" for name, sentence in shortcut_sentences(inputs)]
        content = joined(
            bullets(sentences),
            folded(
                "Shortcuts in numbers",
                table,
                how(
                    "A shortcut needs two things: the features must predict the covariate, and the "
                    "covariate must be associated with the label in this cohort. Where only the "
                    "first holds, the score can hardly depend on it here, but it may elsewhere."
                ),
            ),
        )
    return section_of("shortcuts", "Shortcuts: what else the score could rest on", content,
                      short="Shortcuts")  # fmt: skip
