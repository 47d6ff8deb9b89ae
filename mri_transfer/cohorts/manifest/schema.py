"""Checks of single cells of a manifest, with pandera."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from mri_transfer.cohorts.manifest.text_table import parse_number
from mri_transfer.errors import Fault

if TYPE_CHECKING:
    from pandera.pandas import Check, DataFrameSchema

__all__ = ["ID_COLUMNS", "REQUIRED_COLUMNS", "is_name", "is_value", "schema_faults"]

#: The columns that every manifest must have.
REQUIRED_COLUMNS = ("patient_id", "path")
#: Columns whose values become parts of file names.
ID_COLUMNS = ("patient_id", "session_id", "scan_id")

_AGE_YEARS = (0.0, 120.0)
#: Studies censor the ages of the oldest: 89+, >89, 90 or older.
_CAPPED_AGE = re.compile(
    r"\s*(?:[>≥]=?\s*[0-9]+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?\s*(?:\+|(?:and|or|&)\s*(?:above|older|over)))"
    r"\s*(?:y|years|yrs)?\s*",
    re.IGNORECASE,
)
_MAX_ID_LENGTH = 100
_SPREADSHEET_ERRORS = frozenset(
    {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"}
)

#: For each check of the schema: what is wrong, what is expected, how to fix it.
_MESSAGES: Mapping[str, tuple[str, str | None, str]] = {
    "not_nullable": ("the cell is empty", "a value", "Fill it in or delete the row"),
    "id_name": (
        "the name cannot be part of a file name",
        f"up to {_MAX_ID_LENGTH} characters, without / \\ : or line breaks, not . or ..",
        "Rename it",
    ),
    "value": (
        "a formula or a spreadsheet error instead of a value",
        None,
        "Export the values of the formulas, or leave the cell empty",
    ),
    "age_number": (
        "age is not a number",
        "years, with a decimal point",
        "Write the age in years, or leave the cell empty",
    ),
    "age_capped": (
        "age is censored",
        "a number of years",
        "Write the limit as a number: 89 for 89+, 90 for >89",
    ),
    "age_range": (
        "age is out of range",
        f"{_AGE_YEARS[0]:g} to {_AGE_YEARS[1]:g} years",
        "Correct it, or leave the cell empty",
    ),
    "sex": (
        "unknown value of sex",
        "F or M (female, male)",
        "Write F or M (numeric codes differ between studies), or leave the cell empty",
    ),
}


def is_name(text: str) -> bool:
    """Return whether an id is a value that can be part of a file name on any system."""
    forbidden = any(
        letter in "/\\:" or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
        for letter in text
    )
    short = len(text) <= _MAX_ID_LENGTH
    return is_value(text) and short and not forbidden and text not in (".", "..")


def is_value(text: str) -> bool:
    """Return whether a cell holds a value, not a formula or a spreadsheet error."""
    return not text.startswith("=") and text.upper() not in _SPREADSHEET_ERRORS


def _in_age_range(text: str) -> bool:
    age = parse_number(text)
    return age is None or _AGE_YEARS[0] <= age <= _AGE_YEARS[1]


def _schema() -> DataFrameSchema:
    """Return the checks of single cells; their names are the keys of `_MESSAGES`."""
    import pandera.pandas as pa  # takes 0.2 s, needed only when a table is read

    def cell(name: str, passes: Any) -> Check:
        return pa.Check(passes, element_wise=True, name=name, error=name)

    value_check = cell("value", is_value)
    name_check = cell("id_name", lambda text: is_name(text) or not is_value(text))
    age_checks = [
        cell("age_capped", lambda text: _CAPPED_AGE.fullmatch(text) is None),
        cell(
            "age_number",
            lambda text: parse_number(text) is not None or bool(_CAPPED_AGE.fullmatch(text)),
        ),
        cell("age_range", _in_age_range),
    ]
    checks = {
        **{name: [value_check, name_check] for name in ID_COLUMNS},
        **{name: [value_check] for name in ("label", "site", "scanner")},
        "path": [],
        "age": age_checks,
        "sex": [cell("sex", lambda text: text in ("F", "M"))],
    }
    return pa.DataFrameSchema(
        {
            name: pa.Column(object, checks=checks[name], nullable=name not in REQUIRED_COLUMNS)
            for name in checks
        }
    )


def schema_faults(
    frame: pd.DataFrame, lines: Sequence[int | None], *, named: Sequence[str]
) -> Iterator[Fault]:
    """Yield a fault for each invalid cell.

    Parameters
    ----------
    frame : DataFrame
        Text cells, None where missing, index 0 to n - 1.
    lines : sequence of int or None
        The line number of each row.
    named : sequence of str
        The table's columns.
    """
    from pandera.errors import SchemaErrors

    # A missing column was reported once; do not repeat it for each row.
    absent = [name for name in REQUIRED_COLUMNS if name not in named]
    schema = _schema().remove_columns(absent)
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        for failure in error.failure_cases.itertuples(index=False):
            what, expected, remedy = _MESSAGES[str(failure.check)]
            found = failure.failure_case
            yield Fault(
                what,
                row=lines[int(failure.index)],
                column=str(failure.column),
                found=repr(found) if isinstance(found, str) else None,
                expected=expected,
                remedy=remedy,
            )
