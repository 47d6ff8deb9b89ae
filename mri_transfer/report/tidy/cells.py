"""Cells, columns and rows: how a piece of a document becomes a row of plain values."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

__all__ = [
    "ESTIMATE",
    "Cell",
    "Key",
    "Origin",
    "Path",
    "Rows",
    "TidyTable",
    "as_text",
    "cells",
    "column_name",
    "is_estimate",
    "ordered",
]

Key = str | int
Path = tuple[Key, ...]

#: What every estimate has.
ESTIMATE = ("value", "ci_low", "ci_high", "n", "method")
#: Keys that say which row it is, and stand first; all others follow by name.
_FIRST = ("repeat", "fold", "patient_id", "scan_id", "group", "level", "kind", "target")
#: Words that R keeps for itself, and names that stand for them.
_RESERVED = {"repeat": "cv_repeat"} | {
    word: f"{word}_"
    for word in ("if", "else", "while", "function", "for", "next", "break", "in", "na")
}
#: Ends of columns that hold numbers even where all of them are missing.
_FIGURES = (("value",), ("ci_low",), ("ci_high",), ("p",))
_TWO_BY_TWO = ("tn", "fp", "fn", "tp")


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a column comes from.

    Attributes
    ----------
    document : str
    place : tuple
        The way to the row that first had it, or to the object whose keys it holds.
    keys : tuple of str
        The keys beyond the row; empty for a column of keys.
    """

    document: str
    place: Path
    keys: tuple[str, ...] = ()

    def then(self, key: str) -> Origin:
        """Return the origin of what is found under a key."""
        return Origin(self.document, self.place, (*self.keys, key))


#: A column's name, its origin if a document knows it, and a value.
Cell = tuple[str, Origin | None, Any]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TidyTable:
    """A table, what it is made of, and where its columns come from.

    Attributes
    ----------
    frame : DataFrame
    document : str
    place : tuple
        The way to what the first row holds; empty for the whole document.
    origins : dict of str to Origin
        Of each column that a document knows.
    """

    frame: pd.DataFrame
    document: str
    place: Path
    origins: dict[str, Origin]


class Rows:
    """Rows as they are found, and the origins of their columns."""

    def __init__(self, document: str) -> None:
        self.document = document
        self.place: Path = ()
        self.rows: list[dict[str, Any]] = []
        self.origins: dict[str, Origin] = {}

    def add(self, row: Iterable[Cell], place: Path) -> None:
        """Add a row that is found at a place; what the first row knows of origins stays."""
        if not self.rows:
            self.place = place
        values: dict[str, Any] = {}
        for column, origin, value in row:
            if column in values:
                raise ValueError(f"two values for the column {column}")
            values[column] = value
            if origin is not None:
                self.origins.setdefault(column, origin)
        self.rows.append(values)

    def table(self) -> TidyTable:
        """Return what was found; columns in the order in which they turned up."""
        columns = dict.fromkeys(itertools.chain.from_iterable(self.rows))
        frame = pd.DataFrame(
            {
                name: _series([row.get(name) for row in self.rows], number=self._is_figure(name))
                for name in columns
            }
        )
        return TidyTable(
            frame=frame, document=self.document, place=self.place, origins=self.origins
        )

    def _is_figure(self, column: str) -> bool:
        origin = self.origins.get(column)
        return origin is not None and origin.keys[-1:] in _FIGURES


def _series(values: list[Any], *, number: bool) -> pd.Series[Any]:
    """Return a column of one type: truth values, whole numbers, numbers or text.

    One in which everything is missing holds numbers if it is meant to, and else text.
    """
    present = [value for value in values if value is not None]
    if not present and number:
        return pd.Series(values, dtype="float64")
    if present and all(isinstance(value, bool) for value in present):
        return pd.Series(values, dtype="boolean")
    if present and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in present
    ):
        whole = all(isinstance(value, int) for value in present)
        return pd.Series(values, dtype="Int64" if whole else "float64")
    # An empty text is a missing one: no file of commas tells them apart.
    return pd.Series([as_text(value) or None for value in values], dtype="str")


def as_text(value: Any) -> str:
    """Return a value as the text of one cell; parts of a list are joined by `; `."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {as_text(value[name])}" for name in ordered(value))
    if isinstance(value, list):
        return "; ".join(as_text(one) for one in value)
    return "" if value is None else str(value)


def is_estimate(node: Any) -> bool:
    """Tell whether a node is a figure with its interval."""
    return isinstance(node, Mapping) and all(name in node for name in ESTIMATE)


def ordered(node: Mapping[str, Any]) -> list[str]:
    """Return keys in an order that does not hang on that of the document."""
    first = [name for name in (*_FIRST, *ESTIMATE, "reason") if name in node]
    return first + sorted(set(node) - set(first))


def column_name(*parts: str) -> str:
    """Return a name that R takes as it is: small letters, digits and underscores."""
    words = re.sub(r"[^a-z0-9]+", "_", "_".join(filter(None, parts)).lower()).strip("_")
    name = words if words[:1].isalpha() else f"x{words}"
    return _RESERVED.get(name, name)


def cells(
    node: Any, origin: Origin, prefix: str = "", *, skip: frozenset[str] = frozenset()
) -> Iterator[Cell]:
    """Yield the cells of a piece of a document, one a value.

    An estimate becomes a column of its own name and others that add `ci_low`, `ci_high`, `n` and
    `reason` to it; how its interval was made is told by the table of all figures.

    Parameters
    ----------
    node : object
        A piece of a document.
    origin : Origin
        Its own.
    prefix : str
        Opens the names of its columns.
    skip : frozenset of str
        Keys that are left out, at any depth.
    """
    if isinstance(node, Mapping):
        named = bool(prefix) and is_estimate(node)
        left_out = skip | {"method"} if named else skip
        # The reason too where there is none: whoever reads two runs finds the same columns.
        entries = {"reason": None, **node} if is_estimate(node) else node
        for name in ordered(entries):
            if name not in left_out:
                column = prefix if named and name == "value" else column_name(prefix, name)
                yield from cells(entries[name], origin.then(name), column, skip=skip)
    elif isinstance(node, list) and [len(row) for row in node if isinstance(row, list)] == [2, 2]:
        for name, value in zip(_TWO_BY_TWO, itertools.chain(*node), strict=True):
            yield column_name(prefix, name), origin, value
    else:
        yield prefix, origin, as_text(node) if isinstance(node, list) else node
