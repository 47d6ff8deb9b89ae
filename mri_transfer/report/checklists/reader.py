"""Checklist: the items of a published reporting guideline, read from a file beside this one."""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT, validation_message
from mri_transfer.errors import ConfigurationError
from mri_transfer.report.checklists.conditions import CONDITIONS

__all__ = ["Checklist", "Item", "read_checklist", "read_checklists"]

_FOLDER = Path(__file__).parent
#: In the order in which a report shows them.
_SHIPPED = ("tripod_ai", "claim", "stard_ai")
_NUMBER = re.compile(r"([1-9][0-9]*)([a-z]?)")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Item:
    """One item, or part of one, and how a report answers it."""

    number: str
    """As published, such as `12c`."""
    topic: str
    """Its heading in a word or two."""
    asks: str
    """What it asks, in our words."""
    sections: tuple[str, ...] = ()
    """Sections of the report that answer it; all of them must have content."""
    artefacts: tuple[str, ...] = ()
    """Files of the run that answer it, by path; `*` stands for any part of a name."""
    requires: tuple[str, ...] = ()
    """Conditions of the run without which the sections do not answer it."""
    authors: str = ""
    """What only the authors can supply; beside `sections`, what they add."""
    not_done: str = ""
    """Why the software does not do what is asked."""

    def __post_init__(self) -> None:
        if _NUMBER.fullmatch(self.number) is None:
            raise ValueError("a number is digits and at most one small letter, such as 12c")
        unknown = [name for name in self.requires if name not in CONDITIONS]
        if unknown:
            raise ValueError(f"no such conditions: {', '.join(unknown)}")
        if (self.artefacts or self.requires) and not self.sections:
            raise ValueError("artefacts and conditions belong to sections, and there is none")
        if not (self.sections or self.authors or self.not_done):
            raise ValueError("nothing says how the item is answered")

    @property
    def main_number(self) -> int:
        """The number without its letter."""
        return int(self.number.rstrip("abcdefghijklmnopqrstuvwxyz"))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Checklist:
    """A published guideline: what it is called, where it is found, and its items."""

    schema: Literal["mri-transfer/checklist/1"]
    """Form of the file."""
    id: str
    """Name of its file."""
    name: str
    """What it is called."""
    about: str
    """Kind of study that it is for."""
    citation: str
    """Authors, journal, year, place."""
    doi: str
    """Identifier of the publication."""
    last_item: int
    """Number of its last item; they start at 1 and none is left out."""
    items: tuple[Item, ...]
    """Every item, in the published order."""

    def __post_init__(self) -> None:
        numbers = [item.number for item in self.items]
        if len(set(numbers)) < len(numbers):
            raise ValueError("an item stands there twice")
        if sorted({item.main_number for item in self.items}) != [*range(1, self.last_item + 1)]:
            raise ValueError(f"the items are not those from 1 to {self.last_item}")


def read_checklist(path: str | Path) -> Checklist:
    """Read a checklist.

    Parameters
    ----------
    path : str or Path
        A TOML file.

    Raises
    ------
    ConfigurationError
        Listing every unknown key and every bad value at once.
    """
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("not TOML", where=str(path), found=str(error)) from error
    try:
        return TypeAdapter(Checklist).validate_python(settings)
    except ValidationError as error:
        message = validation_message(error, of="checklist", model=Checklist)
        raise ConfigurationError(message, where=str(path)) from error


@functools.cache
def read_checklists() -> tuple[Checklist, ...]:
    """Return the checklists that come with the package: TRIPOD+AI, CLAIM and STARD-AI."""
    return tuple(read_checklist(_FOLDER / f"{name}.toml") for name in _SHIPPED)
