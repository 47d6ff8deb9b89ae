"""Workspace: every path and file name of a run, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mri_transfer.core.machine import demand_writable
from mri_transfer.errors import MachineError, RunFolderError

__all__ = ["Workspace", "default_cache"]


@dataclass(frozen=True)
class Workspace:
    """A run folder and the cache it shares with other runs."""

    root: Path
    cache: Path

    @property
    def config(self) -> Path:
        """Resolved configuration."""
        return self.root / "config.toml"

    @property
    def source_manifest(self) -> Path:
        """The manifest as it came in."""
        return self.root / "source_manifest.csv"

    @property
    def refused(self) -> Path:
        """The scans that `check` refused; `excluded` holds them and those refused later."""
        return self.root / "refused.csv"

    @property
    def prepared(self) -> Path:
        """Where each scan's prepared volume lies in the cache."""
        return self.root / "prepared.csv"

    @property
    def derivatives(self) -> Path:
        """BIDS derivatives folder of the prepared scans."""
        return self.root / "prepared"

    @property
    def quality(self) -> Path:
        """Every scan's scores and verdict."""
        return self.root / "quality.csv"

    @property
    def quality_pages(self) -> Path:
        """Folder of the pages that show every scan, worst first."""
        return self.root / "quality"

    @property
    def duplicates(self) -> Path:
        """Pairs of scans that are the same file, volume or brain."""
        return self.root / "duplicates.csv"

    @property
    def manifest(self) -> Path:
        """The scans that are used."""
        return self.root / "manifest.csv"

    @property
    def excluded(self) -> Path:
        """The scans that are not used, each with stage and reason."""
        return self.root / "excluded.csv"

    @property
    def slices(self) -> Path:
        """Where each scan's slices lie in the cache."""
        return self.root / "slices.csv"

    @property
    def features(self) -> Path:
        """Where each scan's features lie in the cache."""
        return self.root / "features.csv"

    @property
    def folds(self) -> Path:
        """Patient to fold, per repeat."""
        return self.root / "folds.csv"

    @property
    def heads(self) -> Path:
        """Folder of the fitted heads."""
        return self.root / "heads"

    def head(self, repeat: int, fold: int, *, of_class: int | None = None) -> Path:
        """Stem of one fitted head's two files; `of_class` counts the configured classes."""
        prefix = "" if of_class is None else f"class{of_class}_"
        return self.heads / f"{prefix}r{repeat}_f{fold}"

    @property
    def patient_scores(self) -> Path:
        """One score a patient and repeat."""
        return self.root / "predictions" / "patients.csv"

    @property
    def slice_scores(self) -> Path:
        """One score a slice and repeat."""
        return self.root / "predictions" / "slices.csv"

    @property
    def class_scores(self) -> Path:
        """One probability a patient, repeat and class, where there are three classes or more."""
        return self.root / "predictions" / "classes.csv"

    @property
    def inner_scores(self) -> Path:
        """One score a training patient of each outer fold, from the folds inside it."""
        return self.root / "predictions" / "inner.csv"

    @property
    def baseline_scores(self) -> Path:
        """One score a patient and repeat of every baseline."""
        return self.root / "predictions" / "baselines.csv"

    @property
    def evaluation(self) -> Path:
        """The figures."""
        return self.root / "evaluation.json"

    @property
    def audit(self) -> Path:
        """The leakage stress test and its companions."""
        return self.root / "audit.json"

    @property
    def explanations(self) -> Path:
        """Folder of the attribution maps, their checks and the nearest training patients."""
        return self.root / "explanations"

    @property
    def tables(self) -> Path:
        """Folder of the tidy CSV tables of evaluation and audit, with their data dictionary."""
        return self.root / "tables"

    @property
    def report(self) -> Path:
        """The page that people read."""
        return self.root / "report" / "index.html"

    @property
    def report_pdf(self) -> Path:
        """The same, for print."""
        return self.report.with_name("report.pdf")

    @property
    def report_json(self) -> Path:
        """The same, for machines."""
        return self.report.with_name("report.json")

    @property
    def model_card(self) -> Path:
        """What to know before using the model, in Markdown."""
        return self.report.with_name("model_card.md")

    @property
    def data_sheet(self) -> Path:
        """What to know before using the cohort, in Markdown."""
        return self.report.with_name("data_sheet.md")

    @property
    def crate(self) -> Path:
        """Description of the whole folder for machines."""
        return self.root / "ro-crate-metadata.json"

    @property
    def pseudonymous_report(self) -> Path:
        """Folder of the report under pseudonyms."""
        return self.root / "report_pseudonymised"

    def record(self, stage: str) -> Path:
        """Record of what a stage read and wrote."""
        return self.root / "records" / f"{stage}.json"

    @property
    def scan_index(self) -> Path:
        """Size, time of change and digest of each source scan."""
        return self.root / "records" / "scans.json"

    @property
    def lock(self) -> Path:
        """What a command holds while it works in the folder."""
        return self.root / "records" / "lock"

    @property
    def weights(self) -> Path:
        """Folder of converted trunk weights, in the cache."""
        return self.cache / "weights"

    def demand_writable(self, *, cache: bool) -> None:
        """Try the folders before the work begins, the cache only if it will be written to.

        Raises
        ------
        MachineError
            If nothing can be written to one of them.
        """
        demand_writable(self.root, option="--out")
        if cache:
            demand_writable(self.cache, option="--cache")

    def demand(self, path: Path, *, made_by: str) -> Path:
        """Return `path`, or say which stage makes it.

        Raises
        ------
        RunFolderError
            If the file is not there.
        """
        if not path.exists():
            raise RunFolderError(
                f"{path.relative_to(self.root)} is missing",
                where=str(self.root),
                remedy=f"Run `mri-transfer {made_by}` on this folder first",
            )
        return path


def default_cache() -> Path:
    """Return the user's cache folder, or MRI_TRANSFER_CACHE if that is set.

    Raises
    ------
    MachineError
        If neither is known, as for a user without a home.
    """
    from platformdirs import user_cache_path

    named = os.environ.get("MRI_TRANSFER_CACHE")
    folder = Path(named) if named else user_cache_path("mri-transfer")
    if not named and not folder.is_absolute():
        raise MachineError(
            "no folder for the cache: the user has no home folder",
            found=str(folder),
            remedy="Name a folder with --cache, or in MRI_TRANSFER_CACHE",
        )
    return folder
