"""ReportInputs: everything a report is made of, as plain things, checked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from mri_transfer.errors import RunFolderError
from mri_transfer.explain import Explanation
from mri_transfer.report.figures import Orientation
from mri_transfer.scans.slices import SliceStack

__all__ = ["ReportInputs"]

_EVALUATION_SCHEMA = "mri-transfer/evaluation/2"
_AUDIT_SCHEMA = "mri-transfer/audit/2"
_COLUMNS = {
    "excluded": ("scan_id", "patient_id", "stage", "reason"),
    "patient_scores": ("repeat", "patient_id", "label", "score", "predicted"),
    "slice_scores": ("repeat", "patient_id", "slice", "score"),
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ReportInputs:
    """What a report shows; nothing else enters it, so the same inputs make the same page.

    Attributes
    ----------
    title : str
        Heading of the page.
    evaluation : mapping
        `evaluation.json`.
    audit : mapping or None
        `audit.json`; None where the audit was not run, which the report then says.
    patients : DataFrame, index `patient_id`
        One row a patient: `label`, `age`, `sex`, `site`, further covariates.
    excluded : DataFrame
        One row a scan that was not used: `scan_id`, `patient_id`, `stage`, `reason`.
    patient_scores, slice_scores : DataFrame
        `predictions/patients.csv` and `predictions/slices.csv`.
    config : mapping
        The resolved configuration, section by section.
    provenance : mapping
        Versions, seed, commit, digests, command lines; shown as it is.
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
    artefacts : mapping of str to str
        SHA-256 of every artefact of the run, by its path in the run folder.
    pseudonymous : bool
        Whether names were replaced (`pseudonyms.pseudonymise`); links to pages that show the real
        ones are then left out.

    Raises
    ------
    RunFolderError
        If a table lacks a column or a file has another schema.
    """

    title: str
    evaluation: Mapping[str, Any]
    audit: Mapping[str, Any] | None
    patients: pd.DataFrame
    excluded: pd.DataFrame
    patient_scores: pd.DataFrame
    slice_scores: pd.DataFrame
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    quality: pd.DataFrame | None = None
    folds: pd.DataFrame | None = None
    scans: pd.DataFrame | None = None
    stack_of: Callable[[str], SliceStack] | None = None
    explanation: Explanation | None = None
    artefacts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pseudonymous: bool = False

    def __post_init__(self) -> None:
        _check_schema("evaluation.json", self.evaluation, _EVALUATION_SCHEMA, stage="evaluate")
        if self.audit is not None:
            _check_schema("audit.json", self.audit, _AUDIT_SCHEMA, stage="audit")
        for name, columns in _COLUMNS.items():
            _check_columns(name, getattr(self, name), columns)
        _check_columns("patients", self.patients, ("label",))

    @property
    def evaluated(self) -> pd.DataFrame:
        """The patients who were scored."""
        scored = set(self.patient_scores["patient_id"].astype(str))
        return self.patients[self.patients.index.astype(str).isin(scored)]

    @property
    def orientation(self) -> Orientation:
        """How brain slices are shown."""
        found: Orientation = (self.config.get("report") or {}).get("orientation", "neurological")
        return found

    @property
    def thresholds(self) -> dict[tuple[int, int], float]:
        """Score from which the positive label is called, by repeat and fold."""
        return {
            (int(row["repeat"]), int(row["fold"])): float(row["threshold"])
            for row in self.evaluation.get("per_fold") or ()
        }

    @property
    def labels(self) -> tuple[str, str]:
        """Negative label, positive label."""
        return str(self.evaluation["negative_label"]), str(self.evaluation["positive_label"])


def _check_schema(where: str, document: Mapping[str, Any], expected: str, *, stage: str) -> None:
    found = document.get("schema")
    if found != expected:
        raise RunFolderError(
            "a schema that this report cannot read",
            where=where,
            found=str(found),
            expected=expected,
            remedy=f"Run the stage '{stage}' again with this version",
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
