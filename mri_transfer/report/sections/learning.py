"""What more training patients bring, and what the pretrained trunk adds."""

from __future__ import annotations

from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import beside, figure, findings, how, missing, section_of
from mri_transfer.report.blocks.document import Section
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables import learning_tables as tables

__all__ = ["learning_section"]


def learning_section(inputs: ReportInputs) -> Section:
    """Return the learning curve; where it was not computed, why."""
    curve = None if inputs.audit is None else inputs.audit.learning_curve
    sizes = tables.size_table(inputs)
    if curve is None or sizes is None:
        reason = "Not computed: only the full profile fits heads on growing numbers of patients."
        return section_of("learning", "Learning curve", missing(reason))
    plot = figure(
        "learning-curve",
        figures.draw_learning_curve(curve),
        "AUC of held-out patients by the number of training patients in a fold, with intervals.",
        tables.curve_table(inputs),
    )
    return section_of(
        "learning",
        "Learning curve",
        findings(tables.learning_sentences(inputs)),
        beside(plot, sizes),
        tables.transfer_table(inputs),
        how(
            "Patients are counted, never images: slices of one brain are one case. Where the curve "
            "still rises at its end, more patients would help. The interval of an extrapolation "
            "covers the sampling of patients, not the uncertainty whether the curve goes on so."
        ),
    )
