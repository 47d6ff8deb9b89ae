"""What the codes of a BIDS table's columns mean: the Levels of the JSON file beside the table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mri_transfer.cohorts.mapping.label_rule import same_cell
from mri_transfer.cohorts.readers.bids.tables import Origin
from mri_transfer.cohorts.words import counted
from mri_transfer.core.files import read_json_object

__all__ = ["SexCodes"]

_WORDS = {
    "F": frozenset({"f", "female", "females", "woman", "women", "girl"}),
    "M": frozenset({"m", "male", "males", "man", "men", "boy"}),
    # BIDS allows a third value, which the manifest does not know.
    "": frozenset({"o", "other"}),
}


class SexCodes:
    """Reads the cells of a column of sexes: F, M, BIDS' `O` for other, or codes with Levels.

    Parameters
    ----------
    home : Path
        The data set's folder.
    column : str or None
        The column of sexes, as its table calls it.
    """

    def __init__(self, home: Path, column: str | None) -> None:
        self._home = home
        self._column = column
        self._files: dict[str, dict[str, Any]] = {}
        self._told: dict[str, str] = {}
        self._others: set[str] = set()

    def of(self, patient_id: str, cell: str | None, origin: Origin | None) -> str | None:
        """Return F, M, None for what is neither, or the cell if it cannot be understood.

        Parameters
        ----------
        patient_id : str
        cell : str or None
        origin : Origin, optional
            Where the cell was read.
        """
        if cell is None:
            return None
        sex = next((sex for sex, words in _WORDS.items() if cell.casefold() in words), None)
        if sex is None and origin is not None:
            meaning = self._meaning(cell, origin.table)
            sex = None if meaning is None else _sex_in(meaning)
            if sex is not None:
                self._told[cell] = sex or "other"
        if sex == "":
            self._others.add(patient_id)
        return cell if sex is None else sex or None

    def notes(self) -> Iterator[str]:
        """Say which codes were read by their Levels, and for how many patients sex is `other`."""
        if self._told:
            codes = ", ".join(f"{code} is {sex}" for code, sex in sorted(self._told.items()))
            yield f"Codes of {self._column} are read by the Levels of the table's JSON: {codes}."
        if self._others:
            patients = counted(len(self._others), "patient")
            yield f"Sex is other for {patients}; it is left empty, as the manifest knows F and M."

    def _meaning(self, cell: str, table: str) -> str | None:
        levels = self._levels(table)
        value = next((levels[code] for code in levels if same_cell(cell, code)), None)
        if isinstance(value, dict):
            value = value.get("Description")
        return value if isinstance(value, str) else None

    def _levels(self, table: str) -> dict[str, Any]:
        if table not in self._files:
            beside = Path(table).with_suffix(".json")
            # By the principle of inheritance one file may serve all patients' tables of sessions.
            shared = Path(beside.name.partition("_")[2] or beside.name)
            own = (self._described(path) for path in (beside, shared))
            self._files[table] = next((levels for levels in own if levels), {})
        return self._files[table]

    def _described(self, path: Path) -> dict[str, Any]:
        described = (read_json_object(self._home / path) or {}).get(self._column or "")
        levels = described.get("Levels") if isinstance(described, dict) else None
        return levels if isinstance(levels, dict) else {}


def _sex_in(text: str) -> str | None:
    """Return F, M, "" for other, or None if a description names none of them, or several."""
    words = set(re.findall(r"[a-z]+", text.casefold()))
    named = [sex for sex, spellings in _WORDS.items() if words & spellings]
    return named[0] if len(named) == 1 else None
