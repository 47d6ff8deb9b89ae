"""Codes in a BIDS table's columns, decoded by the Levels in the table's JSON file."""

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
    # BIDS allows a third value, which a manifest does not.
    "": frozenset({"o", "other"}),
}


class SexCodes:
    """Decodes the sex column: F, M, BIDS' `O` for other, or codes with Levels.

    Parameters
    ----------
    home : Path
        The data set's folder.
    column : str or None
        The sex column, as named in the table.
    """

    def __init__(self, home: Path, column: str | None) -> None:
        self._home = home
        self._column = column
        self._files: dict[str, dict[str, Any]] = {}
        self._decoded: dict[str, str] = {}
        self._others: set[str] = set()

    def of(self, patient_id: str, cell: str | None, origin: Origin | None) -> str | None:
        """Return F, M, None for other, or the cell itself if it cannot be decoded.

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
                self._decoded[cell] = sex or "other"
        if sex == "":
            self._others.add(patient_id)
        return cell if sex is None else sex or None

    def notes(self) -> Iterator[str]:
        """Yield the codes decoded by their Levels, and the number of patients with sex `other`."""
        if self._decoded:
            codes = ", ".join(f"{code} is {sex}" for code, sex in sorted(self._decoded.items()))
            yield f"Codes of {self._column} are decoded by the Levels in the table's JSON: {codes}."
        if self._others:
            patients = counted(len(self._others), "patient")
            yield f"Sex is other for {patients}; it is left empty, as a manifest allows F and M."

    def _meaning(self, cell: str, table: str) -> str | None:
        levels = self._levels(table)
        value = next((levels[code] for code in levels if same_cell(cell, code)), None)
        if isinstance(value, dict):
            value = value.get("Description")
        return value if isinstance(value, str) else None

    def _levels(self, table: str) -> dict[str, Any]:
        if table not in self._files:
            sidecar = Path(table).with_suffix(".json")
            # By the inheritance principle one file may apply to all patients' session tables.
            shared = Path(sidecar.name.partition("_")[2] or sidecar.name)
            own = (self._described(path) for path in (sidecar, shared))
            self._files[table] = next((levels for levels in own if levels), {})
        return self._files[table]

    def _described(self, path: Path) -> dict[str, Any]:
        described = (read_json_object(self._home / path) or {}).get(self._column or "")
        levels = described.get("Levels") if isinstance(described, dict) else None
        return levels if isinstance(levels, dict) else {}


def _sex_in(text: str) -> str | None:
    """Return F, M, "" for other, or None if a description names none or several of them."""
    words = set(re.findall(r"[a-z]+", text.casefold()))
    named = [sex for sex, spellings in _WORDS.items() if words & spellings]
    return named[0] if len(named) == 1 else None
