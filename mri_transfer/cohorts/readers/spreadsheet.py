"""Read a study's tables as text: CSV, TSV or an Excel workbook."""

from __future__ import annotations

import contextlib
import csv
import datetime
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mri_transfer.cohorts.manifest.text_table import TextTable, read_text_table
from mri_transfer.core.specs import suggestion
from mri_transfer.errors import Fault, ManifestError

__all__ = ["read_table", "sheet_notes", "table_name"]

#: Suffixes of supported workbooks.
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm")

_AS_CSV = "Save the sheet as CSV in UTF-8"


def read_table(path: Path, *, sheet: str | None = None) -> TextTable:
    """Read a text table, or one sheet of a workbook.

    Parameters
    ----------
    path : Path
        A .xlsx or .xlsm workbook; any other file is read as comma- or tab-separated text.
    sheet : str, optional
        Sheet of a workbook; by default the first.

    Returns
    -------
    TextTable
        Line numbers are those of the file or the sheet. Integers of a workbook are written without
        a decimal point, dates as YYYY-MM-DD.

    Raises
    ------
    ManifestError
        If the file or sheet does not exist or is not a table.
    """
    if path.suffix.casefold() == ".xls":
        fault = Fault("a workbook in the old Excel format", remedy=_AS_CSV)
        raise ManifestError(str(path), [fault])
    if not _is_workbook(path):
        if sheet is not None and path.is_file():
            fault = Fault("not a workbook: it has no sheets", remedy="Omit --sheet")
            raise ManifestError(str(path), [fault])
        return read_text_table(path)
    # The sheet is read as text too, so that the same rules and messages apply.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "sheet.csv"
        with copy.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(_sheet(path, sheet))
        try:
            return read_text_table(copy)
        except ManifestError as error:
            raise ManifestError(table_name(path, sheet), error.faults) from None


def table_name(path: Path, sheet: str | None = None) -> str:
    """Return a table's name in messages: its path and, for a workbook, the sheet."""
    if not _is_workbook(path):
        return str(path)
    return f"{path} (sheet {sheet or _sheets(path)[0]})"


def sheet_notes(path: Path, sheet: str | None = None) -> tuple[str, ...]:
    """Return a note on the sheet of a workbook that is read, if it has several."""
    names = _sheets(path) if _is_workbook(path) else []
    if len(names) < 2:
        return ()
    read = sheet or names[0]
    others = ", ".join(name for name in names if name != read)
    return (f"Sheet {read} of the workbook is read; choose another ({others}) with --sheet.",)


def _is_workbook(path: Path) -> bool:
    return path.suffix.casefold() in WORKBOOK_SUFFIXES and path.is_file()


def _sheets(path: Path) -> list[str]:
    import pandas as pd

    with _workbook_faults(path), pd.ExcelFile(path) as workbook:
        return [str(name) for name in workbook.sheet_names]


def _sheet(path: Path, sheet: str | None) -> list[list[str]]:
    import pandas as pd

    names = _sheets(path)
    if sheet is not None and sheet not in names:
        fault = Fault(
            "the workbook has no such sheet",
            found=sheet,
            expected=", ".join(names),
            remedy=f"{suggestion(sheet, names)}Choose one of these with --sheet",
        )
        raise ManifestError(str(path), [fault])
    with _workbook_faults(path):
        frame = pd.read_excel(
            path, sheet_name=sheet or names[0], header=None, dtype=object, na_filter=False
        )
    return [[_spelt(cell) for cell in row] for row in frame.itertuples(index=False)]


@contextlib.contextmanager
def _workbook_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        # A damaged workbook can make the reader raise almost any exception.
        fault = Fault(
            "the workbook cannot be read",
            found=f"{type(error).__name__}: {error}",
            remedy=_AS_CSV,
        )
        raise ManifestError(str(path), [fault]) from error


def _spelt(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime.datetime):
        return cell.date().isoformat() if cell.time() == datetime.time() else cell.isoformat()
    # A line break inside a cell would shift the numbers of all later lines.
    return " ".join(str(cell).splitlines())
