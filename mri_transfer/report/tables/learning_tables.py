"""The tables of the learning curve: what more training patients bring, and what the trunk does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.report.blocks.cells import Row, Table, confidence_text, stacked
from mri_transfer.report.blocks.wording import count, estimate, number
from mri_transfer.report.inputs import ReportInputs

__all__ = ["curve_table", "learning_sentences", "size_table", "transfer_table"]


def size_table(inputs: ReportInputs) -> Table | None:
    """Return one row a number of training patients, one column a table of features."""
    tables = _tables(inputs)
    cells: dict[float, dict[str, str]] = {}
    for name, table in tables.items():
        for point in table["curve"]:
            cells.setdefault(point["n_train"], {})[name] = stacked(point["auc"])
    rows = [
        Row(count(size), tuple(found.get(name, "not tried") for name in tables))
        for size, found in sorted(cells.items())
    ]
    if not rows:
        return None
    return Table(
        caption=f"AUC by number of training patients, with {confidence_text(inputs)}",
        columns=("Training patients of a fold", *tables),
        rows=tuple(rows),
    )


def curve_table(inputs: ReportInputs) -> Table | None:
    """Return every point of the curve, with its spread over draws; None where not asked."""
    tables = _tables(inputs)
    rows = [
        Row(f"{name}, {count(point['n_train'])} patients", _point_cells(point))
        for name, table in tables.items()
        for point in table["curve"]
    ]
    if not rows:
        return None
    return Table(
        caption=f"Every point of the curve, with {confidence_text(inputs)}",
        columns=("Features, training patients of a fold", "AUC", "AUC within folds", "Over draws"),
        rows=tuple(rows),
    )


def transfer_table(inputs: ReportInputs) -> Table | None:
    """Return by how much the model's features rank better than each control's."""
    found = _curve(inputs).get("transfer") or {}
    rows = [
        Row(f"{count(point['n_train'])} patients", (name, stacked(point["auc_difference"])))
        for name, points in found.items()
        for point in points
    ]
    if not rows:
        return None
    return Table(
        caption=f"AUC of the model's features minus a control's, with {confidence_text(inputs)}",
        columns=("Training patients of a fold", "Control", "Difference"),
        rows=tuple(rows),
        wide=("Control",),
    )


def learning_sentences(inputs: ReportInputs) -> list[str]:
    """Return what to expect of more patients, and which sizes could not be tried."""
    curve = _curve(inputs)
    sentences = []
    for name, table in _tables(inputs).items():
        expected = table["extrapolation"]
        text = estimate(expected, confidence=inputs.evaluation["confidence"])
        sentences.append(
            f"To expect of {name} with {count(expected['at'])} training patients in a fold, by an "
            f"inverse power law: AUC {text}."
        )
    for left in curve.get("sizes_left_out") or []:
        sentences.append(f"{left['size']} training patients were not tried: {left['reason']}.")
    return sentences


def _point_cells(point: Mapping[str, Any]) -> tuple[str, ...]:
    draws = point["draws"]
    spread = (
        f"sd {number(draws['sd'])}"
        if draws["sd"] is not None
        else f"no sd: {draws.get('reason') or 'no reason was given'}"
    )
    over = f"{number(draws['lowest'])} to {number(draws['highest'])}\n{spread}, {draws['n']} runs"
    return stacked(point["auc"]), number(point["auc_within_folds"]), over


def _tables(inputs: ReportInputs) -> dict[str, Mapping[str, Any]]:
    """Return the curves by their table of features, the model's own first."""
    curve = _curve(inputs)
    found, controls = curve.get("tables") or {}, curve.get("transfer") or {}
    return {name: found[name] for name in sorted(found, key=lambda name: (name in controls, name))}


def _curve(inputs: ReportInputs) -> Mapping[str, Any]:
    return (inputs.audit or {}).get("learning_curve") or {}
