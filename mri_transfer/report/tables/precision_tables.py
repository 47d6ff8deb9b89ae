"""How precise the figures are with so many patients, and what more patients would bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.report.blocks.cells import Row, Table
from mri_transfer.report.blocks.wording import label_of, number
from mri_transfer.report.inputs import ReportInputs

__all__ = ["precision_table", "sample_size_table"]

_MEASURES = ("auc", "sensitivity", "specificity", "calibration_slope")


def precision_table(inputs: ReportInputs) -> Table | None:
    """Return the half-width of each main figure's interval; None where it was not computed."""
    found = inputs.evaluation.get("precision") or {}
    rows = [
        Row(
            label_of(name),
            (
                _known(found[name], "value"),
                _known(found[name], "half_width", sign="\u00b1"),
                _known(found[name], "expected_half_width", sign="\u00b1")
                if "expected_half_width" in found[name]
                else "not computed",
            ),
        )
        for name in _MEASURES
        if name in found
    ]
    if not rows:
        return None
    return Table(
        caption=f"Half-width of the interval with {found['n']} patients",
        columns=("Figure", "Value", "Half-width", "Expected from n alone"),
        rows=tuple(rows),
    )


def sample_size_table(inputs: ReportInputs) -> Table | None:
    """Return how many patients narrower intervals would take."""
    found = inputs.evaluation.get("precision") or {}
    needs: dict[tuple[str, str], list[str]] = {}
    for name in _MEASURES:
        for need in (found.get(name) or {}).get("patients") or []:
            text = f"{need['n']}\u00a0for\u00a0\u00b1{number(need['half_width'], 2)}"
            needs.setdefault((name, str(need["method"])), []).append(text)
    rows = [Row(label_of(name), (", ".join(n), by)) for (name, by), n in needs.items()]
    if not rows:
        return None
    return Table(
        caption="Patients needed, of both labels in this cohort's proportion",
        columns=("Figure", "Patients for a half-width", "By"),
        rows=tuple(rows),
        wide=("Patients for a half-width", "By"),
    )


def _known(entry: Mapping[str, Any], name: str, sign: str = "") -> str:
    if entry.get(name) is None:
        return f"not defined:\n{entry.get('reason') or 'no reason was given'}"
    return f"{sign}{number(entry[name])}"
