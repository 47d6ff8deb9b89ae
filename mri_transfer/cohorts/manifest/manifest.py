"""Manifest: the scans of a cohort, one row each, read and written whole."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mri_transfer.cohorts.manifest.checks import BASE_COLUMNS, check_table
from mri_transfer.cohorts.manifest.paths import path_fault
from mri_transfer.cohorts.manifest.text_table import TextTable, clean_cell, read_text_table
from mri_transfer.core.files import atomic_write_text
from mri_transfer.errors import Fault, ManifestError

__all__ = ["BASE_COLUMNS", "Manifest", "make_manifest", "read_manifest"]

_SCAN_COLUMNS = ("patient_id", "session_id", "scan_id", "path")


@dataclasses.dataclass(frozen=True, eq=False)
class Manifest:
    """The scans of a cohort.

    Make one with `read_manifest`, `make_manifest` or a reader of `mri_transfer.cohorts`: they
    check the table.

    Parameters
    ----------
    scans : DataFrame of shape (n_scans, n_columns)
        Index 0 to n_scans - 1; columns patient_id, session_id, scan_id, path, label, age (years),
        sex (F, M), site, scanner, then further covariates. ``path`` is absolute. Text columns have
        pandas' ``string`` type with NA where a value is missing, columns of numbers are float64
        with NaN. A missing label stays missing: such a scan can be scored, not trained on.
    source : Path
        The table or folder that the manifest was read from.
    """

    scans: pd.DataFrame
    source: Path

    @property
    def covariates(self) -> tuple[str, ...]:
        """Columns that describe the patient: age, sex, site, scanner and all further ones."""
        return tuple(
            name for name in self.scans.columns if name not in _SCAN_COLUMNS and name != "label"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels there are, sorted."""
        return tuple(sorted(self.scans["label"].dropna().unique()))

    def patients(self) -> pd.DataFrame:
        """Return one row a patient.

        Returns
        -------
        DataFrame of shape (n_patients, 2 + n_covariates)
            Index patient_id, sorted; columns label, n_scans and the covariates, each the first
            value that is not missing among the patient's scans in the manifest's order.
        """
        groups = self.scans.groupby("patient_id", sort=True)
        table = groups[["label", *self.covariates]].first()
        table.insert(1, "n_scans", groups.size())
        return table

    def keep(self, scan_ids: Iterable[str]) -> Manifest:
        """Return the manifest of some of the scans, in the manifest's order.

        Raises
        ------
        ManifestError
            If one of the ids is not in the manifest.
        """
        wanted = set(scan_ids)
        unknown = sorted(wanted - set(self.scans["scan_id"]))
        if unknown:
            raise ManifestError(
                str(self.source),
                [Fault("no such scan", column="scan_id", found=scan_id) for scan_id in unknown],
            )
        kept = self.scans[self.scans["scan_id"].isin(wanted)].reset_index(drop=True)
        return dataclasses.replace(self, scans=kept)

    def write(self, path: str | Path) -> None:
        """Write the manifest as CSV (UTF-8, line feeds), whole or not at all.

        Scans inside the folder of `path` are written relative to it, so that the folder can be
        moved; others absolute. Numbers are written so that reading them gives the same values.
        """
        folder = Path(os.path.abspath(path)).parent
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.scans.columns)
        for row in self.scans.itertuples(index=False):
            cells = dict(zip(self.scans.columns, row, strict=True))
            cells["path"] = _portable(cells["path"], folder)
            writer.writerow(_spelt(cell) for cell in cells.values())
        atomic_write_text(path, text.getvalue())


def _portable(path: str, folder: Path) -> str:
    """Return the path relative to the folder if reading it back from there is allowed."""
    if not Path(path).is_relative_to(folder):
        return path
    relative = Path(path).relative_to(folder).as_posix()
    leaves = path_fault(relative, folder, row=None, check_files=False) is not None
    return path if leaves or clean_cell(relative) != relative else relative


def _spelt(cell: object) -> str:
    if pd.isna(cell):  # type: ignore[call-overload]
        return ""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(float(cell))
    return str(cell)


def make_manifest(
    table: TextTable,
    *,
    source: Path,
    folder: Path,
    where: str | None = None,
    check_files: bool = True,
) -> Manifest:
    """Check a table of text and make a manifest of it.

    Parameters
    ----------
    table : TextTable
    source : Path
        What the manifest was read from.
    folder : Path
        The cohort's folder: relative paths start here and may not leave it.
    where : str, optional
        What to call the table in messages; `source` by default.
    check_files : bool
        Whether the scans' files must be there, and none of them under two patients.

    Raises
    ------
    ManifestError
        With all faults of the table at once.
    """
    scans = check_table(
        table, where=where or str(source), folder=Path(folder), check_files=check_files
    )
    return Manifest(scans=scans, source=Path(source))


def read_manifest(path: str | Path, *, check_files: bool = True) -> Manifest:
    """Read and check a manifest: a CSV or TSV table with at least patient_id and path.

    Parameters
    ----------
    path : str or Path
        The table; paths in it that are relative start from its folder.
    check_files : bool
        Whether the scans' files must be there, and none of them under two patients. Stages that
        work on cached artefacts only have no need of it.

    Raises
    ------
    ManifestError
        With all faults of the table at once: row, column, what was found and how to mend it.
    """
    source = Path(os.path.abspath(path))
    return make_manifest(
        read_text_table(source), source=source, folder=source.parent, check_files=check_files
    )
