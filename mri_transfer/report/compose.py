"""The report as a whole: its first screen and its sections, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable

from mri_transfer.report.blocks.document import Section
from mri_transfer.report.blocks.report import Report
from mri_transfer.report.front import compose_front
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.sections.baseline import baseline_section
from mri_transfer.report.sections.calibration import calibration_section
from mri_transfer.report.sections.checklists import checklists_section
from mri_transfer.report.sections.comparison import comparison_section
from mri_transfer.report.sections.data import data_section
from mri_transfer.report.sections.discrimination import discrimination_section
from mri_transfer.report.sections.explanation import explanation_section
from mri_transfer.report.sections.failures import failures_section
from mri_transfer.report.sections.flow import flow_section
from mri_transfer.report.sections.leakage import leakage_section
from mri_transfer.report.sections.learning import learning_section
from mri_transfer.report.sections.limits import limits_section
from mri_transfer.report.sections.model import model_section
from mri_transfer.report.sections.patients import patients_section
from mri_transfer.report.sections.precision import precision_section
from mri_transfer.report.sections.preparation import preparation_section
from mri_transfer.report.sections.reproducibility import reproducibility_section
from mri_transfer.report.sections.robustness import robustness_section
from mri_transfer.report.sections.shortcuts import shortcuts_section
from mri_transfer.report.sections.subgroups import subgroups_section
from mri_transfer.report.sections.training import training_section
from mri_transfer.report.sections.utility import utility_section
from mri_transfer.version import __version__

__all__ = ["SECTIONS", "compose_report"]

#: Every section but the checklists, which are answered from these, in the order of the report.
SECTIONS: tuple[Callable[[ReportInputs], Section], ...] = (
    flow_section,
    baseline_section,
    data_section,
    preparation_section,
    model_section,
    training_section,
    discrimination_section,
    calibration_section,
    utility_section,
    comparison_section,
    leakage_section,
    shortcuts_section,
    subgroups_section,
    robustness_section,
    failures_section,
    precision_section,
    learning_section,
    explanation_section,
    patients_section,
    limits_section,
    reproducibility_section,
)


def compose_report(inputs: ReportInputs) -> Report:
    """Return the report of a run.

    Parameters
    ----------
    inputs : ReportInputs

    Returns
    -------
    Report
        The same for the same inputs.

    Raises
    ------
    KeyError
        If the evaluation or the audit lacks a part that its schema promises.
    """
    sections = tuple(make(inputs) for make in SECTIONS)
    return Report(
        title=inputs.title,
        confidence=inputs.evaluation.confidence,
        front=compose_front(inputs),
        sections=(*sections, checklists_section(inputs, sections)),
        made_by=f"mri-transfer {__version__}",
    )
