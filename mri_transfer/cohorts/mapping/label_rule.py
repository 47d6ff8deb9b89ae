"""LabelRule: derives a scan's label from a study's own columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.cohorts.manifest.text_table import parse_number
from mri_transfer.core.specs import STRICT

__all__ = ["CellText", "CellTexts", "Condition", "LabelCase", "LabelRule", "same_cell"]


def _as_text(value: Any) -> Any:
    """Return a number as text: TOML distinguishes 1 from "1", tables do not."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(value) if is_number else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


#: A cell's text; numbers are converted to text.
CellText = Annotated[str, BeforeValidator(_as_text)]
#: One cell's text or a list of them.
CellTexts = Annotated[tuple[CellText, ...], BeforeValidator(_as_list)]


def same_cell(one: str, other: str) -> bool:
    """Return whether two cells are equal, as text or as numbers (0 and 0.0)."""
    if one == other:
        return True
    number = parse_number(one)
    return number is not None and number == parse_number(other)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Condition:
    """A condition on a cell; every given part must hold. A missing cell meets no condition."""

    values: CellTexts = ()
    """The cell is one of these, as text or as a number."""
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None
    matches: str | None = None
    """A regular expression that matches the whole cell."""

    @model_validator(mode="after")
    def _check(self) -> Condition:
        limits = (self.above, self.at_least, self.at_most, self.below)
        if not self.values and self.matches is None and limits == (None,) * 4:
            raise ValueError("give values, a pattern or a limit")
        _compiled(self.matches)
        return self

    def holds(self, cell: str | None) -> bool:
        """Return whether a cell meets the condition."""
        if cell is None:
            return False
        if self.values and not any(same_cell(cell, value) for value in self.values):
            return False
        pattern = _compiled(self.matches)
        if pattern is not None and pattern.fullmatch(cell) is None:
            return False
        return self._in_limits(cell)

    def _in_limits(self, cell: str) -> bool:
        if (self.above, self.at_least, self.at_most, self.below) == (None,) * 4:
            return True
        number = parse_number(cell)
        return (
            number is not None
            and (self.above is None or number > self.above)
            and (self.at_least is None or number >= self.at_least)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
        )


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def _as_condition(value: Any) -> Any:
    """Convert a single value or a list to a condition on values."""
    return {"values": value} if isinstance(value, str | int | float | list | tuple) else value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelCase:
    """A label and its conditions, all of which must hold."""

    label: str
    """The label; an empty string means no label."""
    when: dict[str, Annotated[Condition, BeforeValidator(_as_condition)]] = Field(min_length=1)
    """The condition that each column's cell must meet."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A label, or None, and the part of the rule that decided it."""

    label: str | None
    by: Literal["case", "missing", "other", "nothing"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelRule:
    """Cases in order: the first that matches decides.

    If none matches, a row with a missing cell gets no label: the person was not assessed, which
    never means healthy. Any other row has a value that no case covers; it gets the label `other`,
    or is a fault if `other` is not set.
    """

    cases: tuple[LabelCase, ...]
    other: str | None = None
    """The label of values that no case covers; an empty string means no label."""

    @model_validator(mode="after")
    def _check(self) -> LabelRule:
        if not self.cases:
            raise ValueError("give at least one case")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the cases use, in order of appearance."""
        return tuple(dict.fromkeys(column for case in self.cases for column in case.when))

    def decide(self, cells: Mapping[str, str | None]) -> Decision:
        """Return the label of a row.

        Parameters
        ----------
        cells : mapping
            Cells by column, None where missing. Absent columns count as missing.
        """
        for case in self.cases:
            if all(condition.holds(cells.get(name)) for name, condition in case.when.items()):
                return Decision(label=case.label or None, by="case")
        if any(cells.get(name) is None for name in self.columns):
            return Decision(label=None, by="missing")
        if self.other is None:
            return Decision(label=None, by="nothing")
        return Decision(label=self.other or None, by="other")
