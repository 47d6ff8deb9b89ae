"""The content of `comparison.json`: several runs side by side."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mri_transfer.core.documents import Count, Document, Part, PValue
from mri_transfer.evaluation.notices import Notice
from mri_transfer.metrics.estimates import (
    Difference,
    Proportion,
    TestedDifference,
    TestedFoldDifference,
)
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.results import McNemar

__all__ = [
    "CommonFigures",
    "ComparedFigures",
    "ComparisonDocument",
    "PairDifference",
]

_SCHEMA: Literal["mri-transfer/comparison/1"] = "mri-transfer/comparison/1"


class CommonFigures(Part):
    """Figures of a run on the patients that all runs scored."""

    auc: Proportion
    average_precision: Proportion
    balanced_accuracy: Proportion
    sensitivity: Proportion
    specificity: Proportion
    brier: Proportion
    calibration_intercept: Estimate
    calibration_slope: Estimate


class ComparedFigures(Part):
    """One run."""

    name: str
    """What the run is called."""
    n_patients: Count
    """Patients of the run."""
    n_repeats: Count
    """Repetitions of its cross-validation."""
    auc_all_patients: Proportion
    """Area under the ROC curve of all its patients."""
    common: CommonFigures


class PairDifference(Part):
    """The first of two runs minus the second, on the same patients."""

    first: str
    second: str
    same_folds: bool
    """Whether both runs cut the common patients into the same folds."""
    auc_difference: TestedDifference
    """By DeLong's paired method."""
    auc_difference_bootstrap: Difference
    """By the paired bootstrap of patients."""
    auc_difference_folds: TestedFoldDifference
    """Fold by fold, where both runs have the same folds."""
    brier_difference: Difference
    """Below 0, the first is better."""
    mcnemar: McNemar | None
    """The calls compared; null where repeats differ in number."""
    p_holm: PValue = None
    """p value of the AUC's difference, adjusted for all pairs together."""


class ComparisonDocument(Document):
    """Several runs compared on the patients that all of them scored."""

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/comparison/1"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this form."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Of every interval."""
    positive_label: str
    negative_label: str
    warnings: tuple[Notice, ...]
    """What must be read first."""
    n_common: Count
    """Patients that all runs scored."""
    n_positive: Count
    """Of them, with the positive label."""
    runs: tuple[ComparedFigures, ...]
    pairs: tuple[PairDifference, ...]
    """Every pair of runs, first minus second."""
