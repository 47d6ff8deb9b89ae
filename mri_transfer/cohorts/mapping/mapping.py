"""ColumnMapping: how a study's own table becomes a manifest; written as TOML.

A mapping renames the study's columns, lists the codes of missing values and defines the label.
`data_manifests/` contains mappings for several studies and documents every section. The sections
apply in this order: missing, labels, values, split, add, columns, compose.
"""

from __future__ import annotations

import re
import string
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.cohorts.mapping.label_rule import CellText, CellTexts, LabelRule
from mri_transfer.core.specs import STRICT, validation_message
from mri_transfer.errors import ConfigurationError

__all__ = [
    "EVERY_COLUMN",
    "ColumnMapping",
    "VisitChoice",
    "read_mapping",
    "shipped_mappings",
    "template_parts",
]

#: In the section `missing`: the key for all columns.
EVERY_COLUMN = "*"

#: The folder of the shipped mappings, in an installed package and in a checkout.
_FOLDERS = tuple(Path(__file__).parents[level] / "data_manifests" for level in (2, 3))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VisitChoice:
    """Which of a patient's visits to keep; visits with a label are preferred."""

    keep: Literal["first", "last"]
    order: str = Field(min_length=1)
    """The column to order visits by: numerically if all cells are numbers, else as text."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ColumnMapping:
    """How the columns of a study's table (source columns) become those of a manifest."""

    title: str = ""
    """The study and the table that the mapping is for."""
    missing: dict[str, CellTexts] = Field(default_factory=dict)
    """Codes of missing values by source column; ``*`` for every column."""
    values: dict[str, dict[str, CellText]] = Field(default_factory=dict)
    """New value of each code by source column, "" for missing; other values are kept."""
    labels: LabelRule | None = None
    """How to derive the label from the source columns, after missing codes are removed."""
    split: dict[str, str] = Field(default_factory=dict)
    """Regular expression by source column; its named groups become columns."""
    add: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Source columns to sum, by manifest column."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Manifest column by source column."""
    compose: dict[str, str] = Field(default_factory=dict)
    """Template such as ``{patient_id}/{session_id}/T1.nii.gz`` by manifest column, for tables
    without that column."""
    optional: tuple[str, ...] = ()
    """Source columns that may be absent."""
    other_columns: Literal["keep", "leave out"] = "keep"
    """What to do with source columns that no section uses."""
    without_image: Literal["fault", "leave out"] = "fault"
    """What to do with rows whose path is empty or names no file."""
    visits: VisitChoice | None = None
    """Keep one visit per patient; by default all of them."""

    @model_validator(mode="after")
    def _check(self) -> ColumnMapping:
        problems = [
            *_split_problems(self.split),
            *(problem for text in self.compose.values() for problem in _template_problems(text)),
        ]
        if self.labels is not None and "label" in (*self.columns.values(), *self.compose):
            problems.append("both labels and another section define the column label")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def split_columns(self) -> tuple[str, ...]:
        """The columns that the section split creates."""
        return tuple(
            dict.fromkeys(
                group for pattern in self.split.values() for group in re.compile(pattern).groupindex
            )
        )

    @property
    def demanded(self) -> tuple[str, ...]:
        """The source columns that the table must have."""
        named = [
            *self.columns,
            *self.values,
            *self.split,
            *(name for name in self.missing if name != EVERY_COLUMN),
            *(name for names in self.add.values() for name in names),
            *(self.labels.columns if self.labels is not None else ()),
        ]
        return tuple(name for name in dict.fromkeys(named) if name not in self.optional)

    @property
    def inputs(self) -> frozenset[str]:
        """The source columns that the mapping reads, including optional ones."""
        return frozenset((*self.demanded, *self.optional))


def template_parts(template: str) -> list[tuple[str, str | None, str]]:
    """Split a template into (text, column or None, format of the cell)."""
    return [(text, name, spec or "") for text, name, spec, _ in string.Formatter().parse(template)]


def _split_problems(patterns: dict[str, str]) -> list[str]:
    problems = []
    for pattern in patterns.values():
        try:
            if not re.compile(pattern).groupindex:
                problems.append(f"{pattern!r} has no named group, such as (?P<patient_id>.+)")
        except re.error as error:
            problems.append(f"{pattern!r} is not a regular expression: {error}")
    return problems


def _template_problems(template: str) -> list[str]:
    try:
        for _, name, spec in template_parts(template):
            if name == "":
                return [f"{template!r} has braces without a column name"]
            format("0", spec)
    except ValueError as error:
        return [f"{template!r} is not a template: {error}"]
    return []


def shipped_mappings() -> tuple[str, ...]:
    """Return the names of the shipped mappings, sorted."""
    return tuple(sorted(path.stem for path in _shipped_folder().glob("*.toml")))


def _shipped_folder() -> Path:
    return next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])


def read_mapping(source: str | Path | ColumnMapping) -> ColumnMapping:
    """Read a mapping.

    Parameters
    ----------
    source : str, Path or ColumnMapping
        A TOML file, or the name of a shipped mapping such as ``adni``. A ColumnMapping is returned
        unchanged.

    Raises
    ------
    ConfigurationError
        Listing every unknown key and invalid value.
    """
    if isinstance(source, ColumnMapping):
        return source
    path = Path(source)
    if path.suffix == "" and path.name == str(source):
        path = _shipped_folder() / f"{source}.toml"
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(
            "cannot read the mapping",
            where=str(source),
            found=error.strerror,
            remedy=f"Give a TOML file or one of: {', '.join(shipped_mappings())}",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("not TOML", where=str(path), found=str(error)) from error
    try:
        return TypeAdapter(ColumnMapping).validate_python(settings)
    except ValidationError as error:
        message = validation_message(error, of="mapping", model=ColumnMapping)
        raise ConfigurationError(message, where=str(path)) from error
