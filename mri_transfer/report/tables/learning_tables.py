"""The tables of the learning curve: what more training patients bring, and what the trunk does."""

from __future__ import annotations

from mri_transfer.evaluation.audit.learning_results import (
    FeatureCurve,
    LearningPoint,
)
from mri_transfer.report.blocks.cells import Column, Table, confidence_text, stacked, table_of
from mri_transfer.report.blocks.wording import count, estimate, number
from mri_transfer.report.inputs import ReportInputs

__all__ = ["curve_table", "learning_sentences", "size_table", "transfer_table"]


def size_table(inputs: ReportInputs) -> Table | None:
    """Return one row a number of training patients, one column a table of features."""
    tables = _tables(inputs)
    cells: dict[float, dict[str, str]] = {}
    for name, table in tables.items():
        for point in table.curve:
            cells.setdefault(point.n_train, {})[name] = stacked(point.auc)

    def of_features(name: str) -> Column[float]:
        return Column(name, lambda size: cells[size].get(name, "not tried"))

    return table_of(
        sorted(cells),
        f"AUC by number of training patients, with {confidence_text(inputs)}",
        Column("Training patients of a fold", lambda size: count(size)),
        *map(of_features, tables),
    )


def curve_table(inputs: ReportInputs) -> Table | None:
    """Return every point of the curve, with its spread over draws; None where not asked."""
    points = [(name, point) for name, table in _tables(inputs).items() for point in table.curve]
    return table_of(
        points,
        f"Every point of the curve, with {confidence_text(inputs)}",
        Column(
            "Features, training patients of a fold",
            lambda pair: f"{pair[0]}, {count(pair[1].n_train)} patients",
        ),
        Column("AUC", lambda pair: stacked(pair[1].auc)),
        Column("AUC within folds", lambda pair: number(pair[1].auc_within_folds)),
        Column("Over draws", lambda pair: _spread(pair[1])),
    )


def transfer_table(inputs: ReportInputs) -> Table | None:
    """Return by how much the model's features rank better than each control's."""
    curve = inputs.audit.learning_curve if inputs.audit is not None else None
    points = (
        [(name, point) for name, found in curve.transfer.items() for point in found]
        if curve
        else []
    )
    return table_of(
        points,
        f"AUC of the model's features minus a control's, with {confidence_text(inputs)}",
        Column("Training patients of a fold", lambda pair: f"{count(pair[1].n_train)} patients"),
        Column("Control", lambda pair: pair[0], wide=True),
        Column("Difference", lambda pair: stacked(pair[1].auc_difference)),
    )


def learning_sentences(inputs: ReportInputs) -> list[str]:
    """Return what to expect of more patients, and which sizes could not be tried."""
    sentences = []
    for name, table in _tables(inputs).items():
        expected = table.extrapolation
        text = estimate(expected, confidence=inputs.evaluation.confidence)
        sentences.append(
            f"To expect of {name} with {count(expected.at)} training patients in a fold, by an "
            f"inverse power law: AUC {text}."
        )
    if inputs.audit is not None and inputs.audit.learning_curve is not None:
        for left in inputs.audit.learning_curve.sizes_left_out:
            sentences.append(f"{left.size} training patients were not tried: {left.reason}.")
    return sentences


def _spread(point: LearningPoint) -> str:
    draws = point.draws
    spread = (
        f"sd {number(draws.sd)}"
        if draws.sd is not None
        else f"no sd: {draws.reason or 'no reason was given'}"
    )
    return f"{number(draws.lowest)} to {number(draws.highest)}\n{spread}, {draws.n} runs"


def _tables(inputs: ReportInputs) -> dict[str, FeatureCurve]:
    """Return the curves by their table of features, the model's own first."""
    curve = inputs.audit.learning_curve if inputs.audit is not None else None
    if curve is None:
        return {}
    names = sorted(curve.tables, key=lambda name: (name in curve.transfer, name))
    return {name: curve.tables[name] for name in names}
