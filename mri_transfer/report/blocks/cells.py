"""What every table of a report is made of: rows, and cells that say why a figure is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mri_transfer.report.blocks.document import Row, Table
from mri_transfer.report.blocks.wording import METRICS, interval, label_of, number, p_value
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "Row",
    "Table",
    "confidence_text",
    "method_of",
    "ordered",
    "percent",
    "records",
    "stacked",
    "with_p",
    "value_and_interval",
]

# JSON sorts keys; a reader wants them in this order.
_KEYS = ("repeat", "fold", "n_patients", "n_positive", "threshold")


def value_and_interval(entry: Mapping[str, Any], digits: int = 3) -> tuple[str, str]:
    """Return value and interval of an estimate; where one is missing, why."""
    if entry.get("value") is None:
        return f"not defined:\n{entry.get('reason') or 'no reason was given'}", ""
    span = interval(entry, digits).replace("not defined: ", "not defined:\n")
    return number(entry["value"], digits), span


def stacked(entry: Mapping[str, Any], digits: int = 3) -> str:
    """Return an estimate as one cell: the value, and below it the interval or why there is none."""
    value, span = value_and_interval(entry, digits)
    if not span:
        return value
    if span.startswith("not defined:"):
        return f"{value}\nno interval: {span.removeprefix('not defined:').strip()}"
    unbroken = span.replace(" ", "\u00a0")
    return f"{value}\n{unbroken}"


def with_p(entry: Mapping[str, Any], digits: int = 3) -> str:
    """Return an estimate with its interval and its p value as one cell."""
    text = stacked(entry, digits)
    if entry.get("value") is None or entry.get("p") is None:
        return text
    return f"{text}; p\u00a0{p_value(entry['p'])}"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as '12 %'."""
    return f"{number(100 * share, digits)}\u00a0%"


def method_of(entry: Mapping[str, Any]) -> str:
    """Return how an estimate's interval was made."""
    return str(entry.get("method") or "")


def confidence_text(inputs: ReportInputs) -> str:
    """Return '95 % CI'."""
    return f"{100 * inputs.evaluation['confidence']:g}\u00a0% CI"


def ordered(found: Iterable[str], first: Sequence[str]) -> list[str]:
    """Return the names found: those of `first` in its order, then the others."""
    names = list(dict.fromkeys(found))
    return [name for name in first if name in names] + [name for name in names if name not in first]


def records(caption: str, found: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out a list of records; columns are the union of their keys.

    An entry `reasons` says, by name, why others are undefined, and goes where they stand.
    """
    names = ordered((name for record in found for name in record), (*_KEYS, *METRICS))
    names = [name for name in names if name != "reasons"]
    rows = []
    for record in found:
        reasons = record.get("reasons") or {}
        cells = [_cell(record.get(name), reasons.get(name)) for name in names]
        rows.append(Row(cells[0], tuple(cells[1:])))
    return Table(caption=caption, columns=tuple(map(label_of, names)), rows=tuple(rows))


def _cell(value: Any, reason: str | None) -> str:
    if isinstance(value, Mapping):
        return stacked(value)
    if isinstance(value, float):
        return number(value)
    if value is None:
        return f"not defined:\n{reason}" if reason else "not defined"
    return str(value)
