"""The tables of a prediction among three classes or more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.report.blocks.cells import Row, Table, confidence_text, stacked
from mri_transfer.report.blocks.wording import label_of
from mri_transfer.report.inputs import ReportInputs

__all__ = ["class_table", "macro_table"]

_TITLES = {
    "auc_hand_till": "AUC, mean over pairs of classes (Hand and Till)",
    "brier": "Brier score over all classes; 0 is perfect, 2 the worst",
    "log_loss": "Log loss; 0 is perfect",
    "precision": "Precision",
}


def class_table(inputs: ReportInputs) -> Table | None:
    """Return each class against all others; None where two labels were told apart."""
    found = _found(inputs)
    if not found:
        return None
    against = found["one_vs_rest"]
    names = list(dict.fromkeys(name for entry in against.values() for name in entry))
    rows = [
        Row(
            name,
            (str(found["n_patients"][name]), *(stacked(against[name][key]) for key in names)),
        )
        for name in found["classes"]
    ]
    return Table(
        caption=f"Each class against the rest, with {confidence_text(inputs)}",
        columns=("Class", "Patients", *(_TITLES.get(name, label_of(name)) for name in names)),
        rows=tuple(rows),
    )


def macro_table(inputs: ReportInputs) -> Table | None:
    """Return the figures over all classes."""
    found = _found(inputs).get("macro") or {}
    rows = [
        Row(_TITLES.get(name, label_of(name)), (stacked(entry),)) for name, entry in found.items()
    ]
    columns = ("Over all classes", f"Value, with {confidence_text(inputs)}")
    return Table(caption="All classes", columns=columns, rows=tuple(rows)) if rows else None


def _found(inputs: ReportInputs) -> Mapping[str, Any]:
    return inputs.evaluation.get("classes") or {}
