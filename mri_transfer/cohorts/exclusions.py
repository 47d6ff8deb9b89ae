"""Exclusions: the scans that a run excluded, each with the stage and the reason."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path

from mri_transfer.core.files import atomic_write_text
from mri_transfer.errors import RunFolderError

__all__ = ["Exclusion", "read_exclusions", "write_exclusions"]


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """One excluded scan.

    Parameters
    ----------
    scan_id, patient_id : str
        As in the manifest.
    stage : str
        Name of the stage that excluded the scan.
    reason : str
        The error message, including the remedy.
    """

    scan_id: str
    patient_id: str
    stage: str
    reason: str


_COLUMNS = [field.name for field in dataclasses.fields(Exclusion)]


def write_exclusions(path: str | Path, exclusions: Iterable[Exclusion]) -> None:
    """Write excluded.csv: scan_id, patient_id, stage, reason; only the header if there are none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(dataclasses.astuple(exclusion) for exclusion in exclusions)
    atomic_write_text(path, text.getvalue())


def read_exclusions(path: str | Path) -> tuple[Exclusion, ...]:
    """Read a table written by `write_exclusions`, in the same order.

    Raises
    ------
    RunFolderError
        If the file is missing or not a table of exclusions.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream, strict=True)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise RunFolderError(
            "the table of exclusions cannot be read",
            where=str(path),
            found=str(error),
            remedy="Run the check stage again",
        ) from error
    if header != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise RunFolderError(
            "not a table of exclusions",
            where=str(path),
            found=", ".join(header),
            expected=", ".join(_COLUMNS),
            remedy="Run the check stage again",
        )
    return tuple(Exclusion(*row) for row in rows)
