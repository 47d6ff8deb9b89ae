"""What every table of a report is made of: rows, and cells that say why a figure is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar

from mri_transfer.evaluation.fold_results import FoldRow, RepeatRow
from mri_transfer.metrics.estimates import DifferenceWithP
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report.blocks.document import Row, Table
from mri_transfer.report.blocks.wording import METRICS, Shown, interval, label_of, number, p_value
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "Column",
    "Measure",
    "Row",
    "Table",
    "confidence_text",
    "figure_column",
    "measure_table",
    "table_of",
    "ordered",
    "percent",
    "records",
    "stacked",
    "with_p",
    "value_and_interval",
]

T = TypeVar("T")

#: Title, estimate and meaning of a row.
Measure = tuple[str, Estimate, str]
RowState = Literal["", "quiet", "failed"]

# A reader wants them in this order.
_KEYS = ("repeat", "fold", "n_patients", "n_positive", "threshold")


@dataclasses.dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table: its title, and how the cell of a row is made.

    Attributes
    ----------
    title : str
    cell : callable
        Returns the text for what a row is about.
    wide : bool
        Whether cells are words and not numbers.
    """

    title: str
    cell: Callable[[T], str]
    wide: bool = False


def figure_column(title: str, name: str, digits: int = 3) -> Column[Any]:
    """Return a column of estimates that the rows hold under a name."""
    return Column(title, lambda row: stacked(getattr(row, name), digits))


def table_of(
    items: Iterable[T],
    caption: str,
    head: Column[T],
    *columns: Column[T],
    note: Callable[[T], str] = lambda _: "",
    state: Callable[[T], RowState] = lambda _: "",
    name: str = "",
) -> Table | None:
    """Lay out a table whose rows are about the same kind of thing.

    Parameters
    ----------
    items : iterable
        What the rows are about, in their order.
    caption : str
    head, *columns : Column
    note, state : callable, optional
        Remark below a row's head; its state.
    name : str

    Returns
    -------
    Table or None
        None where there are no rows.
    """
    rows = tuple(
        Row(head.cell(item), tuple(column.cell(item) for column in columns), note=note(item),
            state=state(item))
        for item in items
    )  # fmt: skip
    if not rows:
        return None
    return Table(
        caption=caption,
        columns=(head.title, *(column.title for column in columns)),
        rows=rows,
        wide=tuple(column.title for column in columns if column.wide),
        name=name,
    )


def measure_table(
    caption: str,
    rows: Iterable[Measure],
    inputs: ReportInputs,
    *,
    head: str = "Measure",
    between: Iterable[Column[Measure]] = (),
) -> Table | None:
    """Lay out a table with an estimate a row: its value, interval and the interval's method.

    Parameters
    ----------
    caption : str
    rows : iterable of Measure
    inputs : ReportInputs
    head : str
        Title of the first column.
    between : iterable of Column
        Columns between interval and method.
    """
    return table_of(
        rows,
        caption,
        Column(head, lambda row: row[0]),
        Column("Value", lambda row: value_and_interval(row[1])[0]),
        Column(confidence_text(inputs), lambda row: value_and_interval(row[1])[1]),
        *between,
        Column("Interval by", lambda row: row[1].method, wide=True),
        note=lambda row: row[2],
    )


def value_and_interval(entry: Shown, digits: int = 3) -> tuple[str, str]:
    """Return value and interval of an estimate; where one is missing, why."""
    if entry.value is None:
        return f"not defined:\n{entry.reason or 'no reason was given'}", ""
    span = interval(entry, digits).replace("not defined: ", "not defined:\n")
    return number(entry.value, digits), span


def stacked(entry: Shown, digits: int = 3) -> str:
    """Return an estimate as one cell: the value, and below it the interval or why there is none."""
    value, span = value_and_interval(entry, digits)
    if not span:
        return value
    if span.startswith("not defined:"):
        return f"{value}\nno interval: {span.removeprefix('not defined:').strip()}"
    unbroken = span.replace(" ", "\u00a0")
    return f"{value}\n{unbroken}"


def with_p(entry: DifferenceWithP, digits: int = 3) -> str:
    """Return a difference with its interval and its p value as one cell."""
    text = stacked(entry, digits)
    if entry.value is None or entry.p is None:
        return text
    return f"{text}; p\u00a0{p_value(entry.p)}"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as '12 %'."""
    return f"{number(100 * share, digits)}\u00a0%"


def confidence_text(inputs: ReportInputs) -> str:
    """Return '95 % CI'."""
    return f"{100 * inputs.evaluation.confidence:g}\u00a0% CI"


def ordered(found: Iterable[str], first: Sequence[str]) -> list[str]:
    """Return the names found: those of `first` in its order, then the others."""
    names = list(dict.fromkeys(found))
    return [name for name in first if name in names] + [name for name in names if name not in first]


def records(caption: str, found: Sequence[RepeatRow] | Sequence[FoldRow]) -> Table:
    """Lay out the rows of repeats or folds: a column a field.

    Their `reasons` say why figures are undefined, and go where they stand.
    """
    names = ordered(type(found[0]).model_fields if found else (), (*_KEYS, *METRICS))
    names = [name for name in names if name != "reasons"]
    rows = []
    for record in found:
        reasons = record.reasons or {}
        cells = [_cell(getattr(record, name), reasons.get(name)) for name in names]
        rows.append(Row(cells[0], tuple(cells[1:])))
    return Table(caption=caption, columns=tuple(map(label_of, names)), rows=tuple(rows))


def _cell(value: float | None, reason: str | None) -> str:
    if isinstance(value, float):
        return number(value)
    if value is None:
        return f"not defined:\n{reason}" if reason else "not defined"
    return str(value)
