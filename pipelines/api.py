"""Runs from Python: `run` executes one, `load_run` opens one, `Run` returns results as tables."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mri_transfer.cohorts.exclusions import Exclusion, read_exclusions
from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
from mri_transfer.core.notebook import html_table
from mri_transfer.errors import ConfigurationError, RunFolderError
from mri_transfer.evaluation.notices import study_notices
from pipelines.config import RunConfig, read_config
from pipelines.console import estimate_text
from pipelines.opening import open_run
from pipelines.plan.order import STAGES
from pipelines.reporters import SilentReporter
from pipelines.runner import begin_run, run_pipeline
from pipelines.running import demand_trusted
from pipelines.stage import Context
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from mri_transfer.evaluation.document import EvaluationDocument
    from mri_transfer.models.features import FeatureTable
    from mri_transfer.scans.slices import SliceStack

__all__ = ["Run", "load_run", "run"]


def run(
    manifest: str | Path,
    out: str | Path,
    *,
    config: str | Path | RunConfig | None = None,
    settings: Sequence[str] = (),
    cache: str | Path | None = None,
    jobs: int | None = None,
) -> Run:
    """Run every stage on a cohort, from scans to the report.

    Stages with current results are skipped, so that the same call resumes an interrupted run.

    Parameters
    ----------
    manifest : str or Path
        A table with one row per scan.
    out : str or Path
        The run folder.
    config : str, Path or RunConfig, optional
        A configuration file, or its content; by default the default settings.
    settings : sequence of str
        Single settings such as ``heads.kind=attention``, as for `--set`. Cannot be combined with a
        RunConfig.
    cache : str or Path, optional
        Folder of prepared scans, slices and features; by default the user's cache folder.
    jobs : int, optional
        Number of scans, or of fits, processed in parallel; by default as many as cores and, of
        scans, memory allow.

    Returns
    -------
    Run

    Raises
    ------
    MriTransferError
        If the manifest, the configuration or a stage fails. Single bad scans are excluded and
        listed in `Run.excluded`.
    """
    if not isinstance(config, RunConfig):
        config = read_config(None if config is None else Path(config), list(settings))
    elif settings:
        raise ConfigurationError(
            "settings cannot be combined with a RunConfig",
            found=", ".join(settings),
            remedy="Change the RunConfig itself with dataclasses.replace",
        )
    workspace = begin_run(
        Path(manifest), Path(out), config, cache=None if cache is None else Path(cache)
    )
    run_pipeline(workspace, config, jobs=jobs)
    # The run may have written into it which weights it means.
    return Run(workspace=workspace, config=read_config(workspace.config))


def load_run(folder: str | Path, *, cache: str | Path | None = None) -> Run:
    """Open a run folder.

    Parameters
    ----------
    folder : str or Path
    cache : str or Path, optional
        Folder of its features, if not the user's cache folder.

    Raises
    ------
    RunFolderError
        If it is not a run folder.
    """
    workspace, config = open_run(Path(folder), cache=None if cache is None else Path(cache))
    return Run(workspace=workspace, config=config)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """The results of a run.

    Every result is verified before it is read: files that were edited, or computed with other
    settings, raise RunFolderError.

    Attributes
    ----------
    workspace : Workspace
        The paths of its files.
    config : RunConfig
        Its settings.
    """

    workspace: Workspace
    config: RunConfig

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.workspace.root

    @property
    def report(self) -> Path:
        """Path of the HTML report."""
        return self._trusted(self.workspace.report, "report")

    @functools.cached_property
    def manifest(self) -> Manifest:
        """The scans that were used."""
        path = self._trusted(self.workspace.manifest, "prepare")
        return read_manifest(path, check_files=False)

    @functools.cached_property
    def evaluation(self) -> EvaluationDocument:
        """The evaluation results, as in `evaluation.json`."""
        from mri_transfer.evaluation.document import EvaluationDocument

        path = self._trusted(self.workspace.evaluation, "evaluate")
        return EvaluationDocument.read(path, stage="evaluate")

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the evaluation, and the audit if the run has one, as tidy DataFrames by name.

        `figures` holds every estimate with its interval, a row each; the others are those of the
        run's `tables` folder, whose `columns.csv` describes them.
        """
        from mri_transfer.evaluation.audit import AuditDocument
        from mri_transfer.report.tidy import tidy_tables

        audit = None
        if self.workspace.audit.is_file():
            path = self._trusted(self.workspace.audit, "audit")
            audit = AuditDocument.read(path, stage="audit").plain()
        return tidy_tables(self.evaluation.plain(), audit)

    def excluded(self) -> pd.DataFrame:
        """Return the excluded scans, each with stage and reason."""
        import pandas as pd

        found = read_exclusions(self._trusted(self.workspace.excluded, "prepare"))
        columns = [field.name for field in dataclasses.fields(Exclusion)]
        return pd.DataFrame([dataclasses.asdict(one) for one in found], columns=columns)

    def folds(self) -> pd.DataFrame:
        """Return repeat, patient_id, fold and label of every patient."""
        from mri_transfer.training.folds import Folds

        return Folds.read(self._trusted(self.workspace.folds, "folds")).table()

    def predictions(self, level: Literal["patients", "slices"] = "patients") -> pd.DataFrame:
        """Return the scores of held-out patients, or of their slices.

        Parameters
        ----------
        level : {"patients", "slices"}

        Returns
        -------
        DataFrame
            A row per repeat and patient, or per repeat, scan and slice. `score` is the probability
            of the positive label, 0 to 1.
        """
        from mri_transfer.training.predictions import PatientScores, SliceScores

        if level == "patients":
            return PatientScores.read(self._trusted(self.workspace.patient_scores, "train")).table
        return SliceScores.read(self._trusted(self.workspace.slice_scores, "train")).table

    def features(self) -> FeatureTable:
        """Return the features of every scan, shape (n_scans, n_slices, n_features)."""
        from pipelines.stages.features import read_feature_table

        self._trusted(self.workspace.features, "features")
        return read_feature_table(self.workspace)

    def features_frame(self, level: Literal["slices", "scans"] = "slices") -> pd.DataFrame:
        """Return the features as a DataFrame.

        Parameters
        ----------
        level : {"slices", "scans"}
            A row per slice, or per scan with the mean over its slices.

        Returns
        -------
        DataFrame
            Columns scan_id, patient_id, of slices also slice (from 0, the lowest) and z_mm, then
            the features f0, f1 and so on as float32.
        """
        from mri_transfer.training.feature_files import features_frame

        return features_frame(self.features(), level=level)

    def slices(self) -> Iterator[SliceStack]:
        """Yield the slices of every scan, 8-bit pictures of shape (n_slices, size_px, size_px)."""
        from pipelines.indexes import read_stacks

        yield from read_stacks(self.workspace, self._trusted(self.workspace.slices, "slices"))

    def _trusted(self, path: Path, stage: str) -> Path:
        context = Context(workspace=self.workspace, config=self.config, reporter=SilentReporter())
        demand_trusted(context, [(path, stage)], stages=STAGES)
        return path

    def _repr_html_(self) -> str:
        config = self.config
        rows: dict[str, object] = {
            "folder": self.folder,
            "labels": f"{config.labels.positive} against {config.labels.others}",
            "trunk, head": f"{config.trunk.name} ({config.trunk.weights}), {config.heads.kind}",
        }
        try:
            document = self.evaluation
        except RunFolderError as error:
            # A notebook shows why there is no result, and goes on.
            rows["evaluation"] = error
        else:
            notices = study_notices(
                synthetic=document.synthetic, trunk_weights=document.trunk_weights
            )
            rows |= {f"warning {i}": notice for i, notice in enumerate(notices, 1)}
            rows["patients"] = (
                f"{document.n_patients}, {document.n_positive} {document.positive_label}"
            )
            rows["patient AUC"] = estimate_text(document.patient.auc)
        return html_table(rows, caption="Run of mri-transfer")
