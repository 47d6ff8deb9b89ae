"""Tables as studies distribute them: CSV, TSV or an Excel workbook, all read as text."""

from __future__ import annotations

import csv
import datetime
import tempfile
from pathlib import Path
from typing import Any

from mri_transfer.errors import Fault, ManifestError
from mri_transfer.manifest_table import TextTable, read_text_table

__all__ = ["WORKBOOK_SUFFIXES", "read_table"]

#: Endings of the workbooks that can be read.
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm")

_AS_CSV = "Save the sheet as CSV, encoding UTF-8"


def read_table(path: Path) -> TextTable:
    """Read a table; of a workbook, its first sheet.

    Parameters
    ----------
    path : Path
        A .xlsx or .xlsm workbook; anything else is taken for comma- or tab-separated text.

    Returns
    -------
    TextTable
        Lines are those of the file or the sheet. Whole numbers of a workbook are written without
        a decimal point, dates as YYYY-MM-DD.

    Raises
    ------
    ManifestError
        If there is no such file or it is no table.
    """
    if path.suffix.casefold() == ".xls":
        fault = Fault("a workbook of the old Excel format", remedy=_AS_CSV)
        raise ManifestError(str(path), [fault])
    if path.suffix.casefold() not in WORKBOOK_SUFFIXES or not path.is_file():
        return read_text_table(path)
    # The sheet goes through the one reader of text, so that the same rules and messages hold.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "sheet.csv"
        with copy.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(_sheet(path))
        try:
            return read_text_table(copy)
        except ManifestError as error:
            raise ManifestError(str(path), error.faults) from None


def _sheet(path: Path) -> list[list[str]]:
    import pandas as pd

    try:
        frame = pd.read_excel(path, header=None, dtype=object, na_filter=False)
    except ImportError:
        raise
    except Exception as error:
        # A damaged workbook can make the reader raise nearly anything.
        fault = Fault(
            "the workbook cannot be read",
            found=f"{type(error).__name__}: {error}",
            remedy=_AS_CSV,
        )
        raise ManifestError(str(path), [fault]) from error
    return [[_spelt(cell) for cell in row] for row in frame.itertuples(index=False)]


def _spelt(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime.datetime):
        return cell.date().isoformat() if cell.time() == datetime.time() else cell.isoformat()
    # A line break inside a cell would shift the numbers of all lines below it.
    return " ".join(str(cell).splitlines())
