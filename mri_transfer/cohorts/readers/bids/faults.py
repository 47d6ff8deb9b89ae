"""Faults of a BIDS data set's cells, reported with the table and line of the cell."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from mri_transfer.cohorts.readers.bids.images import BidsImage
from mri_transfer.cohorts.readers.bids.tables import Phenotypes
from mri_transfer.errors import Fault, ManifestError

__all__ = ["located_in_tables"]

_ROW = re.compile(r"\brow ([0-9]+)\b")


def located_in_tables(
    error: ManifestError,
    images: Sequence[BidsImage],
    phenotypes: Phenotypes,
    columns: Mapping[str, str],
) -> ManifestError:
    """Return the error with the row and table that the user can correct.

    Parameters
    ----------
    error : ManifestError
        Its rows count images, from 1.
    images : sequence of BidsImage
    phenotypes : Phenotypes
    columns : mapping
        Source columns by manifest column, where the names differ.
    """

    def location(number: int, column: str | None) -> tuple[str | None, int | None]:
        """Return the table (None for participants.tsv) and the line number."""
        image = images[number - 1]
        line = phenotypes.lines.get(image.patient_id)
        source = columns.get(column or "", column or "")
        origin = phenotypes.origin(image.patient_id, image.session_id, source)
        if origin is None or (origin.line == line and origin.table == "participants.tsv"):
            return None, line
        return origin.table, origin.line

    def located(fault: Fault) -> Fault:
        def row_name(match: re.Match[str]) -> str:
            table, line = location(int(match[1]), fault.column)
            if table is None and line is None:
                return images[int(match[1]) - 1].path
            return f"row {line}" if table is None else f"{table} row {line}"

        found = fault.found
        if found is not None and not found.startswith(("'", '"')):
            found = _ROW.sub(row_name, found)
        if fault.row is None:
            return dataclasses.replace(fault, found=found)
        table, line = location(fault.row, fault.column)
        if table is None:
            return dataclasses.replace(fault, row=line, found=found)
        source = columns.get(fault.column or "", fault.column)
        what = f"{table} row {line}, column {source}: {fault.what}"
        return dataclasses.replace(fault, what=what, row=None, column=None, found=found)

    return ManifestError(str(error.where), [located(fault) for fault in error.faults])
