"""How far scores hold: over two scans of a patient, and over degraded scans."""

from __future__ import annotations

from mri_transfer.report.blocks.blocks import how, section_of, shown_or_missing
from mri_transfer.report.blocks.document import Block, Heading, Section
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.audit_tables import retest_table, robustness_tables

__all__ = ["robustness_section"]


def robustness_section(inputs: ReportInputs) -> Section:
    """Return the agreement of two scans of a patient, and the effect of degraded scans."""
    return section_of(
        "robustness",
        "Robustness",
        Heading(text="Two scans of one patient"),
        _retest(inputs),
        Heading(text="Degraded scans"),
        _degraded_scans(inputs),
    )


def _retest(inputs: ReportInputs) -> tuple[Block, ...]:
    reason = "Agreement between two scans of a patient was not evaluated."
    if inputs.audit is not None:
        reason = f"Not defined: {inputs.audit.retest.icc.reason or 'no patient has two scans'}."
    return shown_or_missing(
        retest_table(inputs),
        reason,
        after=how(
            "A patient should not change between two scans taken close together; a change of the "
            "score comes from the scan and the model."
        ),
    )


def _degraded_scans(inputs: ReportInputs) -> tuple[Block, ...]:
    return shown_or_missing(
        robustness_tables(inputs),
        "Not evaluated: only the full profile perturbs scans and passes them through the trunk "
        "again.",
        after=how(
            "Each row is the same patients with their scans degraded in one way. The heads are "
            "those of the run and never saw a perturbed scan. A score that changes much where a "
            "reader would see the same brain is not about the brain."
        ),
    )
