"""How far scores hold: over two scans of a patient, and over degraded scans."""

from __future__ import annotations

from mri_transfer.report.blocks.blocks import how, section_of, shown_or_missing
from mri_transfer.report.blocks.document import Block, Heading, Section
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.audit_tables import retest_table, robustness_tables

__all__ = ["robustness_section"]


def robustness_section(inputs: ReportInputs) -> Section:
    """Return the agreement of two scans of a patient, and the effect of degraded scans."""
    return section_of("robustness", "Robustness", _retest(inputs), _degraded_scans(inputs))


def _retest(inputs: ReportInputs) -> tuple[Block, ...]:
    reason = "Two scans of one patient: agreement was not evaluated."
    if inputs.audit is not None:
        why = inputs.audit.retest.icc.reason or "no patient has two scans"
        reason = f"Two scans of one patient: agreement is not defined, {why}."
    return shown_or_missing(
        retest_table(inputs),
        reason,
        before=Heading(text="Two scans of one patient"),
        after=how(
            "A patient should not change between two scans taken close together; a change of the "
            "score comes from the scan and the model."
        ),
    )


def _degraded_scans(inputs: ReportInputs) -> tuple[Block, ...]:
    return shown_or_missing(
        robustness_tables(inputs),
        "Degraded scans: not evaluated; only the full profile does that.",
        before=Heading(text="Degraded scans"),
        after=how(
            "Each row is the same patients with their scans degraded in one way. The heads are "
            "those of the run and were trained without degraded scans. A score that changes much "
            "where a reader would see the same brain is not about the brain."
        ),
    )
