"""ReportInputs: everything a report is made of, typed, checked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from pydantic import Field, JsonValue
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.errors import RunFolderError
from mri_transfer.evaluation.audit.document import AuditDocument, CheckResult
from mri_transfer.evaluation.document import EvaluationDocument
from mri_transfer.explain import Explanation, FeatureMaps
from mri_transfer.metrics.task import Task
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.report.figures import Orientation
from mri_transfer.scans.slices import SliceStack
from mri_transfer.training.fit_record import TuningRecord
from mri_transfer.training.instances import InstancesRecord
from mri_transfer.training.model_config import ModelConfig

__all__ = ["Provenance", "ReportInputs", "ReportSettings"]

_COLUMNS = {
    "excluded": ("scan_id", "patient_id", "stage", "reason"),
    "patient_scores": ("repeat", "patient_id", "label", "score", "predicted"),
    "slice_scores": ("repeat", "patient_id", "slice", "score"),
}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReportSettings(ModelConfig):
    """The settings of a run that its report shows: those of the model, and how to show them."""

    tuning: TuningSpec = Field(default_factory=TuningSpec)
    orientation: Orientation = "neurological"
    """How brain slices are shown."""
    every: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Every setting of the run, section by section, defaults included; shown as it is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made the figures of a run.

    Attributes
    ----------
    version : str
        Of mri-transfer.
    commit : str
        Of its source; `installed package` where there is none.
    seed : int
    trunk_sha256 : str
        Digest of the trunk's weights.
    device, precision : str or None
        What features were computed on, and in; None where it is not recorded.
    packages : mapping of str to str
        Versions of the packages that figures depend on.
    commands, verify : sequence of str
        Commands that made the run, and those that verify it.
    pseudonyms : mapping of str to str
        How names were replaced; empty where they were not.
    """

    version: str
    commit: str
    seed: int
    trunk_sha256: str
    device: str | None
    precision: str | None
    packages: Mapping[str, str]
    commands: Sequence[str]
    verify: Sequence[str]
    pseudonyms: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ReportInputs:
    """What a report shows; nothing else enters it, so the same inputs make the same page.

    Attributes
    ----------
    title : str
        Heading of the page.
    evaluation : EvaluationDocument
    audit : AuditDocument or None
        None where the audit was not run, which the report then says.
    patients : DataFrame, index `patient_id`
        One row a patient: `label`, `age`, `sex`, `site`, further covariates.
    excluded : DataFrame
        One row a scan that was not used: `scan_id`, `patient_id`, `stage`, `reason`.
    patient_scores, slice_scores : DataFrame
        `predictions/patients.csv` and `predictions/slices.csv`.
    settings : ReportSettings
    provenance : Provenance or None
        None where it is not recorded.
    quality : DataFrame or None
        `quality.csv`: one row a scan.
    folds : DataFrame or None
        `folds.csv`: repeat, patient_id, fold, label.
    scans : DataFrame or None
        One row a scan used: `scan_id`, `patient_id`.
    stack_of : callable or None
        Returns the slices of a scan by its `scan_id`, read when they are asked for.
    explanation : Explanation or None
        What the stage `explain` found.
    feature_maps : FeatureMaps or None
        What the network makes of one slice; None where the stage `explain` made none.
    tunings : mapping of (int, int) to TuningRecord
        How each fold's tail was trained, by repeat and fold; empty where the trunk stays frozen.
    instances : InstancesRecord or None
        Patients of another cohort that heads were fitted to as well; names are left out.
    artefacts : mapping of str to str
        SHA-256 of every artefact of the run, by its path in the run folder.
    ventricles : mapping of str to float
        By patient of known age and sex, the share of people of the same age and sex without the
        positive label whose ventricles are smaller, 0 to 1; learnt in the folds that held the
        patient out. Empty where volumes were not measured.
    volume_pages : mapping of str to str
        The page that shows a patient's scans in three planes, by patient: its path relative to
        the report. Patients without one are not in it.
    pseudonymous : bool
        Whether names were replaced (`pseudonyms.pseudonymise`); links to pages that show the real
        ones are then left out.

    Raises
    ------
    RunFolderError
        If a table lacks a column.
    """

    title: str
    evaluation: EvaluationDocument
    audit: AuditDocument | None
    patients: pd.DataFrame
    excluded: pd.DataFrame
    patient_scores: pd.DataFrame
    slice_scores: pd.DataFrame
    settings: ReportSettings
    provenance: Provenance | None
    quality: pd.DataFrame | None = None
    folds: pd.DataFrame | None = None
    scans: pd.DataFrame | None = None
    stack_of: Callable[[str], SliceStack] | None = None
    explanation: Explanation | None = None
    feature_maps: FeatureMaps | None = None
    tunings: Mapping[tuple[int, int], TuningRecord] = dataclasses.field(default_factory=dict)
    instances: InstancesRecord | None = None
    artefacts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ventricles: Mapping[str, float] = dataclasses.field(default_factory=dict)
    volume_pages: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pseudonymous: bool = False

    def __post_init__(self) -> None:
        for name, columns in _COLUMNS.items():
            _check_columns(name, getattr(self, name), columns)
        _check_columns("patients", self.patients, ("label",))

    @property
    def evaluated(self) -> pd.DataFrame:
        """The patients who were scored."""
        scored = set(self.patient_scores["patient_id"].astype(str))
        return self.patients[self.patients.index.astype(str).isin(scored)]

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """The checks of the audit; none where it was not run."""
        return () if self.audit is None else self.audit.checks

    @property
    def thresholds(self) -> dict[tuple[int, int], float]:
        """Score from which the positive label is called, by repeat and fold."""
        return {(row.repeat, row.fold): row.threshold for row in self.evaluation.per_fold}

    @property
    def task(self) -> Task:
        """The labels that the scores tell apart."""
        return Task(
            positive=self.evaluation.positive_label, negative=self.evaluation.negative_label
        )


def _check_columns(where: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise RunFolderError(
            "a table of the report lacks columns",
            where=where,
            found=", ".join(map(str, table.columns)) or "none",
            expected=", ".join(columns),
        )
