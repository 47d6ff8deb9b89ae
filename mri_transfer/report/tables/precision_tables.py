"""How precise the figures are with so many patients, and what more patients would bring."""

from __future__ import annotations

from mri_transfer.metrics.results import AucPrecision, FigurePrecision
from mri_transfer.report.blocks.cells import Column, Table, table_of
from mri_transfer.report.blocks.wording import label_of, number
from mri_transfer.report.inputs import ReportInputs

__all__ = ["precision_table", "sample_size_table"]

_MEASURES = ("auc", "sensitivity", "specificity", "calibration_slope")


def precision_table(inputs: ReportInputs) -> Table | None:
    """Return the half-width of each main figure's interval."""
    return table_of(
        _figures(inputs),
        f"Half-width of the interval with {inputs.evaluation.precision.n} patients",
        Column("Figure", lambda pair: label_of(pair[0])),
        Column("Value", lambda pair: _known(pair[1].value, pair[1].reason)),
        Column("Half-width", lambda pair: _known(pair[1].half_width, pair[1].reason, "\u00b1")),
        Column("Expected from n alone", lambda pair: _expected(pair[1])),
    )


def sample_size_table(inputs: ReportInputs) -> Table | None:
    """Return how many patients narrower intervals would take."""
    needs: dict[tuple[str, str], list[str]] = {}
    for name, figure in _figures(inputs):
        for need in figure.patients:
            text = f"{need.n}\u00a0for\u00a0\u00b1{number(need.half_width, 2)}"
            needs.setdefault((name, need.method), []).append(text)
    return table_of(
        needs,
        "Patients needed, of both labels in this cohort's proportion",
        Column("Figure", lambda key: label_of(key[0])),
        Column("Patients for a half-width", lambda key: ", ".join(needs[key]), wide=True),
        Column("By", lambda key: key[1], wide=True),
    )


def _figures(inputs: ReportInputs) -> list[tuple[str, FigurePrecision]]:
    return [(name, getattr(inputs.evaluation.precision, name)) for name in _MEASURES]


def _expected(figure: FigurePrecision) -> str:
    if not isinstance(figure, AucPrecision):
        return "not computed"
    return _known(figure.expected_half_width, figure.reason, "\u00b1")


def _known(value: float | None, reason: str | None, sign: str = "") -> str:
    if value is None:
        return f"not defined:\n{reason or 'no reason was given'}"
    return f"{sign}{number(value)}"
