"""Faults that several readers report."""

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
    """Return the fault for a requested column that the table lacks."""
    return Fault(
        "the table has no such column",
        row=1,
        column=name,
        found=", ".join(columns),
        remedy=f"{suggestion(name, columns)}Correct the name of the column",
    )


def merged_columns(ours: str) -> Fault:
    """Return the fault for two columns mapped to one name."""
    return Fault("two columns are mapped to one", column=ours, remedy="Choose one of them")


def misplaced_image(path: str) -> Fault:
    """Return the fault for an image whose name and folder disagree."""
    return Fault(
        "the image's name and folder belong to different patients or sessions",
        column="path",
        found=path,
        remedy="Find out which patient it belongs to, then rename or move it",
    )


def repeated_row(
    key: Sequence[str | None], *, row: int | None, first: int | None, column: str | None = None
) -> Fault:
    """Return the fault for a second row about one patient or session.

    Parameters
    ----------
    key : sequence of str or None
        The patient and, if there is one, the session.
    row, first : int, optional
        Line numbers of the second row and of the first.
    column : str, optional
        The column of the patient.
    """
    return Fault(
        "two rows about one session" if all(key) else "two rows about one patient",
        row=row,
        column=column,
        found=f"{' '.join(part for part in key if part)}, as in row {first}",
        remedy="Delete one of them, or give them different sessions",
    )


def unwritable_images(folder: Path, error: OSError) -> ConfigurationError:
    """Return the error for an image folder that cannot be written."""
    return ConfigurationError(
        "the image folder cannot be written",
        where=str(folder),
        found=os.strerror(error.errno) if error.errno else type(error).__name__,
        remedy="Choose a folder that you can write to",
    )
