"""Conditions of a run that decide whether an item of a checklist is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mri_transfer.report.inputs import ReportInputs

__all__ = ["CONDITIONS"]

_SEVERITY = ("cdr", "mmse")


def _known(inputs: ReportInputs, name: str) -> list[Any]:
    """Return the values of a covariate of the evaluated patients, without the missing ones."""
    if name not in inputs.evaluated:
        return []
    return [value for value in inputs.evaluated[name].dropna() if str(value).strip()]


def _several_sites(inputs: ReportInputs) -> str:
    if len(set(map(str, _known(inputs, "site")))) > 1:
        return ""
    return "not done: the manifest does not name two sites or more"


def _age_or_sex_known(inputs: ReportInputs) -> str:
    if _known(inputs, "age") or _known(inputs, "sex"):
        return ""
    return "not done: neither age nor sex is known of any patient"


def _severity_known(inputs: ReportInputs) -> str:
    if any(_known(inputs, name) for name in _SEVERITY):
        return ""
    return f"not done: the manifest holds none of {', '.join(_SEVERITY)}"


def _subgroups_measured(inputs: ReportInputs) -> str:
    if inputs.evaluation.subgroups.rows:
        return ""
    return "not done: no covariate divides the patients into groups"


def _robustness_tested(inputs: ReportInputs) -> str:
    if inputs.audit is not None and inputs.audit.robustness:
        return ""
    return "not done: the run did not score disturbed scans (audit.robustness_patients is 0)"


def _explained(inputs: ReportInputs) -> str:
    return "" if inputs.explanation else "not done: the stage explain was not run"


def _weighted_labels(inputs: ReportInputs) -> str:
    if getattr(inputs.settings.heads, "balanced", False):
        return ""
    return "does not apply: no method against unequal labels was used"


def _scans_kept_by_hand(inputs: ReportInputs) -> str:
    if inputs.settings.quality.keep:
        return ""
    return "does not apply: the scans are measured by the software; none was kept by hand"


#: Each returns "" where the condition holds, and otherwise the state of the item and why.
CONDITIONS: dict[str, Callable[[ReportInputs], str]] = {
    "age_or_sex_known": _age_or_sex_known,
    "explained": _explained,
    "robustness_tested": _robustness_tested,
    "scans_kept_by_hand": _scans_kept_by_hand,
    "several_sites": _several_sites,
    "severity_known": _severity_known,
    "subgroups_measured": _subgroups_measured,
    "weighted_labels": _weighted_labels,
}
