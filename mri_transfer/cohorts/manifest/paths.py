"""Checks of the files that a manifest names."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from mri_transfer.core.files import identical_files
from mri_transfer.errors import Fault

__all__ = ["content_faults", "path_fault", "resolve_path"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def resolve_path(text: str, folder: Path) -> str:
    """Return the absolute path of a manifest's cell; relative ones start from the folder.

    Symbolic links are not resolved, so that messages name the paths that the user wrote.
    """
    return os.path.abspath(folder / text)


def path_fault(text: str, folder: Path, *, row: int | None, check_files: bool) -> Fault | None:
    """Return what is wrong with one path, or None.

    A relative path must stay inside the cohort's folder after symbolic links are resolved, so that
    a table from elsewhere cannot make the program read other files. An absolute path is the user's
    explicit choice and may point anywhere.

    Parameters
    ----------
    text : str
        The cell as written.
    folder : Path
        The cohort's folder.
    row : int or None
        The line number to report.
    check_files : bool
        Whether to check that the file exists.
    """
    absolute = resolve_path(text, folder)
    fault = _no_path(text)
    if fault is None and not os.path.isabs(text):
        fault = _escape(text, absolute, folder)
    if fault is None and check_files:
        fault = _absence(text, absolute)
    if fault is None:
        return None
    what, remedy = fault
    found = text if text.isprintable() else repr(text)
    return Fault(what, row=row, column="path", found=found, remedy=remedy)


def _no_path(text: str) -> tuple[str, str] | None:
    """Return why a cell is not a valid path, or None."""
    if _ADDRESS.match(text):
        return "a URL, not a path", "Download the scan and write the path of its file"
    if "\0" in text or any(unicodedata.category(letter) == "Cs" for letter in text):
        # A manifest is UTF-8: such a name could not be written and read back.
        return "the path is not UTF-8 text", "Rename the file"
    return None


def _inside(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _escape(text: str, absolute: str, folder: Path) -> tuple[str, str] | None:
    remedy = "Move the file into the folder, or write its absolute path"
    if not _inside(absolute, os.path.abspath(folder)):
        return "the path leaves the cohort's folder", remedy
    # The path is resolved before normalising: after a link, ".." leads somewhere else.
    if not _inside(os.path.realpath(folder / text), os.path.realpath(folder)):
        return "the path leaves the cohort's folder through a symbolic link", remedy
    return None


def _absence(text: str, absolute: str) -> tuple[str, str] | None:
    path = Path(absolute)
    try:
        if path.is_file():
            return None
        if path.is_dir():
            return "the path is a folder", "Give the path of the scan's file"
        if path.is_symlink():
            return (
                "the file is missing: the symbolic link is broken",
                "Fetch the linked file (datalad get, git annex get), or delete the row",
            )
        if path.exists():
            return "the path is not a regular file", "Give the path of a NIfTI file"
    except OSError as error:
        remedy = "Check the path and the permissions of its folders"
        return f"the file cannot be reached ({error.strerror})", remedy
    return "the file is missing", _correction(text, absolute)


def _correction(text: str, absolute: str) -> str:
    if "\\" in text:
        return "Separate folders with /, not with a backslash"
    if text.startswith("~"):
        return "Write the home folder in full, not as ~"
    for form in ("NFC", "NFD"):
        if os.path.lexists(unicodedata.normalize(form, absolute)):
            return f"Its accents are encoded differently on disk: save the path in Unicode {form}"
    return "Correct the path, or delete the row"


def content_faults(
    paths: Sequence[str], patient_ids: Sequence[str], lines: Sequence[int | None]
) -> Iterator[Fault]:
    """Yield a fault for each file listed under two patients; files are compared by content.

    One person under two ids could end up on both sides of a split.
    """
    for group in identical_files(paths):
        first = group[0]
        for other in group[1:]:
            if patient_ids[other] != patient_ids[first]:
                row = "" if lines[first] is None else f"row {lines[first]}, "
                yield Fault(
                    "one file under two patients",
                    row=lines[other],
                    column="path",
                    found=f"{paths[other]} of patient {patient_ids[other]} is identical to "
                    f"{paths[first]} ({row}patient {patient_ids[first]})",
                    remedy="Find out which patient it belongs to and delete the other row; "
                    "if both are the same person, give them one patient_id",
                )
