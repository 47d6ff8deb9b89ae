"""Faults that several readers meet, said in the same words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mri_transfer.core.specs import suggestion
from mri_transfer.errors import ConfigurationError, Fault

__all__ = [
    "absent_column",
    "merged_columns",
    "misplaced_image",
    "repeated_row",
    "unwritable_images",
]


def absent_column(name: str, columns: Sequence[str]) -> Fault:
    """Return the fault of a column that was asked for and is not in the table."""
    return Fault(
        "the table has no such column",
        row=1,
        column=name,
        found=", ".join(columns),
        remedy=f"{suggestion(name, columns)}Correct the name of the column",
    )


def merged_columns(ours: str) -> Fault:
    """Return the fault of two columns that are to have one name."""
    return Fault("two columns are to become one", column=ours, remedy="Choose one of them")


def misplaced_image(path: str) -> Fault:
    """Return the fault of an image whose name and folder contradict each other."""
    return Fault(
        "the image's name and its folder speak of different patients or sessions",
        column="path",
        found=path,
        remedy="Find out whose image it is, then rename or move it",
    )


def repeated_row(
    key: Sequence[str | None], *, row: int | None, first: int | None, column: str | None = None
) -> Fault:
    """Return the fault of a second row about one patient or session.

    Parameters
    ----------
    key : sequence of str or None
        What the rows are about: patient and, if there is one, session.
    row, first : int, optional
        Lines of the second row and of the first.
    column : str, optional
        Where the patient is named.
    """
    return Fault(
        "two rows about one session" if all(key) else "two rows about one patient",
        row=row,
        column=column,
        found=f"{' '.join(part for part in key if part)}, as in row {first}",
        remedy="Delete one of them, or tell them apart by their session",
    )


def unwritable_images(folder: Path, error: OSError) -> ConfigurationError:
    """Return the error of a folder of images that cannot be written."""
    return ConfigurationError(
        "the folder of images cannot be written",
        where=str(folder),
        found=os.strerror(error.errno) if error.errno else type(error).__name__,
        remedy="Name another folder for the images, one that you may write to",
    )
