"""The report as a whole: its first screen and three layers of sections, in reading order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mri_transfer.report.blocks.document import Layer, Section
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
from mri_transfer.report.sections.glossary import glossary_section
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
from mri_transfer.report.sections.summary import summary_section
from mri_transfer.report.sections.training import training_section
from mri_transfer.report.sections.utility import utility_section
from mri_transfer.version import __version__

__all__ = ["SECTIONS", "compose_report", "compose_summary"]

#: The sections of each layer in the order in which they are read; limits come before methods. The
#: checklists, which are answered from all of these, end the appendix.
SECTIONS: Mapping[Layer, tuple[Callable[[ReportInputs], Section], ...]] = {
    "summary": (summary_section, glossary_section),
    "results": (
        discrimination_section,
        calibration_section,
        utility_section,
        comparison_section,
        subgroups_section,
        leakage_section,
        shortcuts_section,
        patients_section,
        limits_section,
    ),
    "appendix": (
        flow_section,
        baseline_section,
        data_section,
        explanation_section,
        failures_section,
        robustness_section,
        precision_section,
        learning_section,
        preparation_section,
        model_section,
        training_section,
        reproducibility_section,
    ),
}


def compose_report(inputs: ReportInputs) -> Report:
    """Return the report of a run: clinical summary, results, technical appendix.

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
    sections = tuple(section for layer in SECTIONS for section in _layer(inputs, layer))
    checklists = _placed(checklists_section(inputs, sections), "appendix")
    return _report(inputs, (*sections, checklists))


def compose_summary(inputs: ReportInputs) -> Report:
    """Return the clinical summary of a run alone, with the sections of that layer.

    Parameters
    ----------
    inputs : ReportInputs
    """
    return _report(inputs, _layer(inputs, "summary"))


def _report(inputs: ReportInputs, sections: tuple[Section, ...]) -> Report:
    return Report(
        title=inputs.title,
        confidence=inputs.evaluation.confidence,
        front=compose_front(inputs),
        sections=sections,
        made_by=f"mri-transfer {__version__}",
    )


def _layer(inputs: ReportInputs, layer: Layer) -> tuple[Section, ...]:
    return tuple(_placed(make(inputs), layer) for make in SECTIONS[layer])


def _placed(section: Section, layer: Layer) -> Section:
    return section.model_copy(update={"layer": layer})
