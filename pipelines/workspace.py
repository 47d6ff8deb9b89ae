"""Workspace: all paths and file names of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mri_transfer.core.machine import demand_writable
from mri_transfer.errors import MachineError, RunFolderError

__all__ = ["Workspace", "default_cache"]


@dataclass(frozen=True)
class Workspace:
    """A run folder, and the cache shared with other runs."""

    root: Path
    cache: Path

    @property
    def config(self) -> Path:
        """Resolved configuration."""
        return self.root / "config.toml"

    @property
    def source_manifest(self) -> Path:
        """The original manifest."""
        return self.root / "source_manifest.csv"

    @property
    def refused(self) -> Path:
        """The scans refused by `check`; `excluded` contains them and those excluded later."""
        return self.root / "refused.csv"

    @property
    def prepared(self) -> Path:
        """Cache entry of each scan's prepared volume."""
        return self.root / "prepared.csv"

    @property
    def derivatives(self) -> Path:
        """BIDS derivatives folder of the prepared scans."""
        return self.root / "prepared"

    @property
    def quality(self) -> Path:
        """Quality scores and verdict of every scan."""
        return self.root / "quality.csv"

    @property
    def quality_pages(self) -> Path:
        """Folder of the quality control pages, worst scans first."""
        return self.root / "quality"

    @property
    def duplicates(self) -> Path:
        """Pairs of scans with the same file, volume or brain."""
        return self.root / "duplicates.csv"

    @property
    def manifest(self) -> Path:
        """The scans in use."""
        return self.root / "manifest.csv"

    @property
    def excluded(self) -> Path:
        """The excluded scans, each with stage and reason."""
        return self.root / "excluded.csv"

    @property
    def slices(self) -> Path:
        """Cache entry of each scan's slices."""
        return self.root / "slices.csv"

    @property
    def features(self) -> Path:
        """Cache entry of each scan's features."""
        return self.root / "features.csv"

    @property
    def folds(self) -> Path:
        """Fold of each patient, per repeat."""
        return self.root / "folds.csv"

    @property
    def heads(self) -> Path:
        """Folder of the fitted heads."""
        return self.root / "heads"

    def head(self, repeat: int, fold: int, *, of_class: int | None = None) -> Path:
        """Stem of a fitted head's two files; `of_class` is an index into the configured classes."""
        prefix = "" if of_class is None else f"class{of_class}_"
        return self.heads / f"{prefix}r{repeat}_f{fold}"

    @property
    def patient_scores(self) -> Path:
        """One score per patient and repeat."""
        return self.root / "predictions" / "patients.csv"

    @property
    def slice_scores(self) -> Path:
        """One score per slice and repeat."""
        return self.root / "predictions" / "slices.csv"

    @property
    def class_scores(self) -> Path:
        """One probability per patient, repeat and class, if there are three classes or more."""
        return self.root / "predictions" / "classes.csv"

    @property
    def inner_scores(self) -> Path:
        """One score per training patient of each outer fold, from its inner folds."""
        return self.root / "predictions" / "inner.csv"

    @property
    def baseline_scores(self) -> Path:
        """One score per patient, repeat and baseline."""
        return self.root / "predictions" / "baselines.csv"

    @property
    def evaluation(self) -> Path:
        """The evaluation results."""
        return self.root / "evaluation.json"

    @property
    def audit(self) -> Path:
        """The audit: the leakage stress test and further tests."""
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
        """The HTML report."""
        return self.root / "report" / "index.html"

    @property
    def report_pdf(self) -> Path:
        """The report as PDF."""
        return self.report.with_name("report.pdf")

    @property
    def report_summary(self) -> Path:
        """The clinical summary as PDF."""
        return self.report.with_name("summary.pdf")

    @property
    def report_json(self) -> Path:
        """The report as JSON."""
        return self.report.with_name("report.json")

    @property
    def model_card(self) -> Path:
        """The model card, in Markdown."""
        return self.report.with_name("model_card.md")

    @property
    def data_sheet(self) -> Path:
        """The data sheet of the cohort, in Markdown."""
        return self.report.with_name("data_sheet.md")

    @property
    def crate(self) -> Path:
        """Machine-readable description of the whole folder (RO-Crate)."""
        return self.root / "ro-crate-metadata.json"

    @property
    def pseudonymous_report(self) -> Path:
        """Folder of the pseudonymised report."""
        return self.root / "report_pseudonymised"

    def record(self, stage: str) -> Path:
        """Record of a stage's inputs and outputs."""
        return self.root / "records" / f"{stage}.json"

    @property
    def scan_index(self) -> Path:
        """Size, modification time and digest of each source scan."""
        return self.root / "records" / "scans.json"

    @property
    def lock(self) -> Path:
        """The lock file of the folder."""
        return self.root / "records" / "lock"

    @property
    def log(self) -> Path:
        """What the commands on the folder did and when."""
        return self.root / "records" / "log.txt"

    @property
    def weights(self) -> Path:
        """Folder of converted trunk weights, in the cache."""
        return self.cache / "weights"

    def demand_writable(self, *, cache: bool) -> None:
        """Check that the run folder, and optionally the cache, are writable.

        Raises
        ------
        MachineError
            If one of them is not.
        """
        demand_writable(self.root, option="--out")
        if cache:
            demand_writable(self.cache, option="--cache")

    def demand(self, path: Path, *, made_by: str) -> Path:
        """Return `path`, or raise an error that names the stage that writes it.

        Raises
        ------
        RunFolderError
            If the file is missing.
        """
        if not path.exists():
            raise RunFolderError(
                f"{path.relative_to(self.root)} is missing",
                where=str(self.root),
                remedy=f"Run `mri-transfer {made_by}` on this folder first",
            )
        return path


def default_cache() -> Path:
    """Return MRI_TRANSFER_CACHE if it is set, else the user's cache folder.

    Raises
    ------
    MachineError
        If there is neither, as for a user without a home folder.
    """
    from platformdirs import user_cache_path

    named = os.environ.get("MRI_TRANSFER_CACHE")
    folder = Path(named) if named else user_cache_path("mri-transfer")
    if not named and not folder.is_absolute():
        raise MachineError(
            "no folder for the cache: the user has no home folder",
            found=str(folder),
            remedy="Set a folder with --cache or MRI_TRANSFER_CACHE",
        )
    return folder
