"""How precise the figures are, and how many patients would make them more so."""

from __future__ import annotations

from mri_transfer.report.blocks.blocks import beside, how, missing, section_of
from mri_transfer.report.blocks.document import Section
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.precision_tables import precision_table, sample_size_table

__all__ = ["precision_section"]


def precision_section(inputs: ReportInputs) -> Section:
    """Return the half-widths of the intervals and the numbers of patients for smaller ones."""
    needed = sample_size_table(inputs) or missing(
        "How many patients would be needed cannot be said."
    )
    return section_of(
        "precision",
        "Precision and sample size",
        beside(precision_table(inputs), needed),
        how(
            "The half-width is how far a figure may be off to either side. Halving it takes about "
            "four times the patients; repeats of the cross-validation do not help."
        ),
        short="Precision",
    )
