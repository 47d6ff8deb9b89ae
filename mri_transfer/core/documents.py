"""What every result shares that is written as JSON: typed, frozen, checked on the way in and out.

A model says once what a document holds; its JSON schema, its reader and its writer follow from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mri_transfer.core.files import write_json
from mri_transfer.errors import RunFolderError

__all__ = [
    "RESULT",
    "Amount",
    "Count",
    "Document",
    "OptionalText",
    "PValue",
    "Part",
    "Share",
    "absent",
]

#: Pydantic configuration of every part of a document.
RESULT = ConfigDict(
    frozen=True,
    extra="forbid",
    allow_inf_nan=False,
    use_attribute_docstrings=True,
    serialize_by_alias=True,
    validate_by_name=True,
)

Count = Annotated[int, Field(ge=0)]
#: 0 or more; stays whole in the file where it is whole.
Amount = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PValue = Annotated[Share | None, Field(description="A p value; null where it is undefined.")]


def absent(value: object) -> bool:
    """Tell whether a key is left out of the file, for ``Field(exclude_if=absent)``."""
    return value is None


#: A text that the file does not name where there is none, such as a reason.
OptionalText = Annotated[
    Annotated[str, Field(min_length=1)] | None, Field(default=None, exclude_if=absent)
]


class Part(BaseModel):
    """A part of a document: fixed keys, no others, never changed."""

    model_config = RESULT


class Document(Part):
    """A whole document, a file of a run.

    Attributes
    ----------
    SCHEMA : str
        Name and version of its form; the value of its key `schema`.
    """

    SCHEMA: ClassVar[str]

    def plain(self) -> dict[str, Any]:
        """Return the values of JSON, as they are written."""
        return self.model_dump(mode="json")

    def write(self, path: Path) -> None:
        """Write the JSON in one step, the same bytes for the same content."""
        write_json(path, self.plain())

    @classmethod
    def read(cls, path: Path, *, stage: str) -> Self:
        """Read the document from its file.

        Parameters
        ----------
        path : Path
        stage : str
            What makes the file, for the remedy of an error.

        Raises
        ------
        RunFolderError
            If the file is missing, no JSON, of another schema, or not of the form that its schema
            promises.
        """
        remedy = f"Run the {stage} stage again with this version"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunFolderError("a file is missing", where=str(path), remedy=remedy) from error
        except ValueError as error:
            raise RunFolderError("not a JSON file", where=str(path), remedy=remedy) from error
        found = content.get("schema") if isinstance(content, dict) else None
        if found != cls.SCHEMA:
            raise RunFolderError(
                "not a version that is read here",
                where=str(path),
                found=str(found),
                expected=cls.SCHEMA,
                remedy=remedy,
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise RunFolderError(
                "not the form that its schema promises",
                where=f"{path}, {'/'.join(map(str, first['loc']))}",
                found=first["msg"],
                expected=cls.SCHEMA,
                remedy=remedy,
            ) from error
