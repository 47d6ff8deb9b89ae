"""Manifest: the scans of a cohort, one per row."""

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
from mri_transfer.core.notebook import html_table
from mri_transfer.errors import Fault, ManifestError

__all__ = ["BASE_COLUMNS", "Manifest", "make_manifest", "read_manifest"]

#: Scans that a notebook shows.
_SHOWN = 5

_SCAN_COLUMNS = ("patient_id", "session_id", "scan_id", "path")


@dataclasses.dataclass(frozen=True, eq=False)
class Manifest:
    """The scans of a cohort.

    Create one with `read_manifest`, `make_manifest` or a reader of `mri_transfer.cohorts`, which
    check the table.

    Parameters
    ----------
    scans : DataFrame of shape (n_scans, n_columns)
        Index 0 to n_scans - 1; columns patient_id, session_id, scan_id, path, label, age (years),
        sex (F, M), site, scanner, then further covariates. ``path`` is absolute. Text columns have
        pandas' ``string`` type with NA where a value is missing, numeric columns are float64 with
        NaN. A missing label stays missing: such a scan can be scored, but not trained on.
    source : Path
        The table or folder that the manifest was read from.
    """

    scans: pd.DataFrame
    source: Path

    @property
    def covariates(self) -> tuple[str, ...]:
        """Columns that describe the patient: age, sex, site, scanner and further covariates."""
        return tuple(
            name for name in self.scans.columns if name not in _SCAN_COLUMNS and name != "label"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted(self.scans["label"].dropna().unique()))

    def patients(self) -> pd.DataFrame:
        """Return one row per patient.

        Returns
        -------
        DataFrame of shape (n_patients, 2 + n_covariates)
            Index patient_id, sorted; columns label, n_scans and the covariates, each the first
            non-missing value among the patient's scans, in the manifest's order.
        """
        groups = self.scans.groupby("patient_id", sort=True)
        table = groups[["label", *self.covariates]].first()
        table.insert(1, "n_scans", groups.size())
        return table

    def keep(self, scan_ids: Iterable[str]) -> Manifest:
        """Return a manifest of the given scans, in the original order.

        Raises
        ------
        ManifestError
            If an id is not in the manifest.
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
        """Write the manifest as CSV (UTF-8, line feeds), atomically.

        Paths inside the folder of `path` are written relative to it, so that the folder can be
        moved; others are absolute. Numbers round-trip exactly.
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

    def _repr_html_(self) -> str:
        scans = self.scans
        counts = scans["label"].fillna("no label").value_counts().sort_index()
        first = scans.drop(columns="path").head(_SHOWN)
        summary = html_table(
            {
                "source": self.source,
                "scans": len(scans),
                "patients": scans["patient_id"].nunique(),
                "labels": ", ".join(f"{label}: {count}" for label, count in counts.items()),
                "covariates": ", ".join(self.covariates),
            },
            caption="Manifest",
        )
        return summary + first.to_html(index=False)


def _portable(path: str, folder: Path) -> str:
    """Return the path relative to the folder, if a manifest there may name it so."""
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
    """Check a table of text and return it as a manifest.

    Parameters
    ----------
    table : TextTable
    source : Path
        The table or folder that the manifest comes from.
    folder : Path
        The cohort's folder: relative paths start here and must stay inside it.
    where : str, optional
        What to call the table in messages; `source` by default.
    check_files : bool
        Whether to check that the files exist and that no two patients share one.

    Raises
    ------
    ManifestError
        Listing every fault of the table.
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
        The table; its relative paths start from its folder.
    check_files : bool
        Whether to check that the files exist and that no two patients share one. Not
        needed by stages that only read cached artefacts.

    Raises
    ------
    ManifestError
        Listing every fault of the table: row, column, what was found and how to fix it.
    """
    source = Path(os.path.abspath(path))
    return make_manifest(
        read_text_table(source), source=source, folder=source.parent, check_files=check_files
    )
