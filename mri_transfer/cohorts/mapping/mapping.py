"""ColumnMapping: how a study's own table becomes a manifest; written as TOML.

A mapping says what the study's columns are called here, which codes mean that a value is missing,
and what a scan's label is. `data_manifests/` holds one for each of several studies and explains
every section. The sections apply in this order: missing, labels, values, split, add, columns,
compose.
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

#: In the section of missing codes: what holds for all columns.
EVERY_COLUMN = "*"

#: The folder of the shipped mappings: in an installed package, and in a checkout.
_FOLDERS = tuple(Path(__file__).parents[level] / "data_manifests" for level in (2, 3))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VisitChoice:
    """Which of a patient's visits is kept; those with a label come before those without."""

    keep: Literal["first", "last"]
    order: str = Field(min_length=1)
    """The column that visits are ordered by: as numbers if all cells are, else as text."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ColumnMapping:
    """How the columns of a study's table become those of a manifest.

    "Ours" are the manifest's columns or further covariates, "theirs" those of the table.
    """

    title: str = ""
    """Which table of which study this is."""
    missing: dict[str, CellTexts] = Field(default_factory=dict)
    """Their column to the codes that mean "missing"; ``*`` for every column."""
    values: dict[str, dict[str, CellText]] = Field(default_factory=dict)
    """Their column to its codes and what each becomes, "" for missing; other values stay."""
    labels: LabelRule | None = None
    """What the label is; it looks at their values, missing codes removed."""
    split: dict[str, str] = Field(default_factory=dict)
    """Their column to a regular expression whose named groups become columns."""
    add: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Our column to their columns of numbers whose sum it is."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Their column to ours."""
    compose: dict[str, str] = Field(default_factory=dict)
    """Our column to a template such as ``{patient_id}/{session_id}/T1.nii.gz``, for tables that
    have no such column themselves."""
    optional: tuple[str, ...] = ()
    """Their columns that may be absent."""
    other_columns: Literal["keep", "leave out"] = "keep"
    """What to do with columns that no section makes a column of ours."""
    without_image: Literal["fault", "leave out"] = "fault"
    """What to do with rows whose path is empty or leads to no file."""
    visits: VisitChoice | None = None
    """Keep one visit a patient; by default all of them."""

    @model_validator(mode="after")
    def _check(self) -> ColumnMapping:
        problems = [
            *_split_problems(self.split),
            *(problem for one in self.compose.values() for problem in _template_problems(one)),
        ]
        if self.labels is not None and "label" in (*self.columns.values(), *self.compose):
            problems.append("both labels and another section make the column label")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def split_columns(self) -> tuple[str, ...]:
        """The columns that the section split makes."""
        return tuple(
            dict.fromkeys(
                group for pattern in self.split.values() for group in re.compile(pattern).groupindex
            )
        )

    @property
    def demanded(self) -> tuple[str, ...]:
        """Their columns that the table must have."""
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
        """Their columns that it reads, those that may be absent included."""
        return frozenset((*self.demanded, *self.optional))


def template_parts(template: str) -> list[tuple[str, str | None, str]]:
    """Split a template into (text, column or None, how the cell is padded)."""
    return [(text, name, spec or "") for text, name, spec, _ in string.Formatter().parse(template)]


def _split_problems(patterns: dict[str, str]) -> list[str]:
    problems = []
    for pattern in patterns.values():
        try:
            if not re.compile(pattern).groupindex:
                problems.append(f"{pattern!r} has no named group, such as (?P<patient_id>.+)")
        except re.error as error:
            problems.append(f"{pattern!r} is no regular expression: {error}")
    return problems


def _template_problems(template: str) -> list[str]:
    try:
        for _, name, spec in template_parts(template):
            if name == "":
                return [f"{template!r} has a pair of braces without the name of a column"]
            format("0", spec)
    except ValueError as error:
        return [f"{template!r} is no template: {error}"]
    return []


def shipped_mappings() -> tuple[str, ...]:
    """Return the names of the mappings that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _shipped_folder().glob("*.toml")))


def _shipped_folder() -> Path:
    return next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])


def read_mapping(source: str | Path | ColumnMapping) -> ColumnMapping:
    """Read a mapping.

    Parameters
    ----------
    source : str, Path or ColumnMapping
        A TOML file, or the bare name of a shipped mapping such as ``adni``. A mapping is returned
        as it is.

    Raises
    ------
    ConfigurationError
        Listing every unknown key and every bad value at once.
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
            remedy=f"Name a TOML file, or one of these: {', '.join(shipped_mappings())}",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("not TOML", where=str(path), found=str(error)) from error
    try:
        return TypeAdapter(ColumnMapping).validate_python(settings)
    except ValidationError as error:
        message = validation_message(error, of="mapping", model=ColumnMapping)
        raise ConfigurationError(message, where=str(path)) from error
