"""Labels of DICOM patients, from a table with their ids; messages never contain ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from mri_transfer.cohorts.manifest.schema import is_value
from mri_transfer.cohorts.manifest.text_table import TextTable
from mri_transfer.cohorts.readers.id_matching import PAD_IDS, likely_ids
from mri_transfer.cohorts.readers.spreadsheet import read_table, table_name
from mri_transfer.cohorts.words import listed
from mri_transfer.errors import Fault, ManifestError

__all__ = ["PatientLabels", "read_patient_labels"]

_PATIENT, _LABEL = "patient_id", "label"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatientLabels:
    """The labels in a table.

    Parameters
    ----------
    labels : mapping
        Label by patient id, None where the cell is empty.
    path : Path
        The table.
    lines : mapping
        First line number by patient id.
    """

    labels: Mapping[str, str | None]
    path: Path
    lines: Mapping[str, int | None] = dataclasses.field(repr=False)

    def of(
        self, patient_ids: Collection[str], *, pad_ids: bool
    ) -> tuple[Mapping[str, str | None], tuple[str, ...]]:
        """Return the labels by the ids in the headers, and notes.

        Parameters
        ----------
        patient_ids : collection of str
            Ids in the headers.
        pad_ids : bool
            Match ids that differ from those in the headers only in leading zeros or case.

        Raises
        ------
        ManifestError
            If there are such ids and `pad_ids` is not set. It lists rows, not ids.
        """
        meant = likely_ids(self.labels, patient_ids)
        if not meant:
            return self.labels, ()
        rows = sorted(line for name in meant if (line := self.lines.get(name)) is not None)
        where = listed([f"row {line}" for line in rows])
        if not pad_ids:
            fault = Fault(
                "patient ids differ from those in the headers only in leading zeros or case",
                row=rows[0] if rows else None,
                column=_PATIENT,
                found=where,
                remedy=PAD_IDS,
            )
            raise ManifestError(str(self.path), [fault])
        labels = {meant.get(name, name): label for name, label in self.labels.items()}
        note = f"ids matched to the headers in spite of leading zeros or case: {where}."
        return labels, (f"{self.path.name}: {note}",)


def read_patient_labels(path: Path) -> PatientLabels:
    """Read the patients' labels.

    Parameters
    ----------
    path : Path
        Table with the columns patient_id, as in the DICOM headers, and label.

    Raises
    ------
    ManifestError
        Listing every fault. It contains rows, never ids.
    """
    table = read_table(path)
    # Without a header the first row is a patient's: then not even column names may be shown.
    missing = [name for name in (_PATIENT, _LABEL) if name not in table.columns]
    faults = [
        Fault(
            "the column is missing",
            row=1,
            column=name,
            expected=f"{_PATIENT}, {_LABEL}",
            remedy="Put the column names in the first line",
        )
        for name in missing
    ]
    labels: dict[str, str | None] = {}
    rows: dict[str, int | None] = {}
    if not missing:
        faults += [*table.faults, *_take_rows(table, labels, rows)]
    if faults:
        raise ManifestError(table_name(path), faults)
    return PatientLabels(labels=labels, path=path, lines=rows)


def _take_rows(
    table: TextTable, labels: dict[str, str | None], rows: dict[str, int | None]
) -> Iterator[Fault]:
    for line, cells in table.records():
        patient_id, label = cells[_PATIENT], cells[_LABEL]
        if patient_id is None:
            yield Fault(
                "the cell is empty", row=line, column=_PATIENT, remedy="Fill it in or delete it"
            )
        elif label is not None and not is_value(label):
            yield Fault(
                "a formula or a spreadsheet error instead of a value",
                row=line,
                column=_LABEL,
                remedy="Export the values of the formulas, or leave the cell empty",
            )
        elif labels.setdefault(patient_id, label) != label:
            yield Fault(
                "two labels for one patient",
                row=line,
                column=_LABEL,
                found=f"a different label than in row {rows[patient_id]}",
                remedy="Correct one of the rows",
            )
        else:
            rows.setdefault(patient_id, line)
