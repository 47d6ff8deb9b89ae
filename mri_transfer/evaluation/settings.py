"""What an evaluation computes, and what it is told beside the scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.cohorts.circular_covariates import refuse_circular
from mri_transfer.core.specs import STRICT
from mri_transfer.metrics.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from mri_transfer.core.arrays import FloatArray

__all__ = ["CohortTables", "EvaluationFacts", "EvaluationSpec", "Evidence"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationSpec:
    """Which figures are computed, and how sure their intervals are."""

    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Confidence of every interval."""
    bootstrap_samples: int = Field(default=2000, ge=100)
    """Resamples of patients behind a bootstrap interval."""
    baselines: bool = True
    """Whether covariate baselines are fitted on the same folds."""
    covariates: tuple[str, ...] = ()
    """Columns of the manifest that become baselines, beside age and sex."""
    image_baselines: bool = True
    """Whether outline, histogram, voxels and volumes of tissue are read by simpler models, on the
    same folds."""
    random_trunk: bool = True
    """Whether the head is also fitted on a trunk with random weights, which has to be passed."""
    baseline_inner_folds: int = Field(default=5, ge=2)
    """Folds inside training patients that set a baseline's threshold."""
    calibration_bins: int = Field(default=10, ge=2)
    """Points of the calibration curve at most; each stands for 5 patients or more."""
    prevalences: tuple[float, ...] = Field(default=(0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5))
    """Shares of positive patients for which predictive values are given."""
    age_caliper_years: float = Field(default=2.5, gt=0)
    """Largest difference in age within a matched pair."""
    worst_patients: int = Field(default=10, ge=0)
    """Patients shown in the analysis of failures."""

    @model_validator(mode="after")
    def _check(self) -> EvaluationSpec:
        refuse_circular(self.covariates)
        if not all(0 < share < 1 for share in self.prevalences):
            raise ValueError("prevalences must lie between 0 and 1")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationFacts:
    """What the scores cannot tell and a reader must know."""

    synthetic: bool
    """The cohort is made up."""
    trunk_weights: Literal["imagenet", "scans", "random"]
    """Where the trunk's weights come from."""
    n_scans: int | None = Field(default=None, ge=0)
    """Scans evaluated; counted in the slice scores if not given."""
    n_slices: int | None = Field(default=None, ge=0)
    """Slices evaluated; counted in the slice scores if not given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CohortTables:
    """Who was evaluated, how they were split, and what was told apart.

    Attributes
    ----------
    patients : DataFrame
        Indexed by patient_id: label, covariates and, where known, age, sex and site.
    folds : DataFrame
        Columns repeat, patient_id, fold, label.
    task : Task
    """

    patients: pd.DataFrame
    folds: pd.DataFrame
    task: Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a run knows beyond the scores of held-out patients.

    Attributes
    ----------
    heads : sequence of mapping
        The facts written beside each fold's head: what was tried and chosen, and thresholds.
    inner_scores : DataFrame, optional
        Columns repeat, fold, patient_id, score: training patients of each outer fold, scored by
        heads that had not seen them.
    image_baselines : mapping of str to DataFrame
        Scores of simpler models of the images, as in `predictions/patients.csv`.
    classes : tuple of str
        Three or more classes, if those were predicted.
    class_labels : sequence of str
        The class of each patient, patients sorted.
    class_scores : ndarray of float64, shape (n_repeats, n_patients, n_classes), optional
    """

    heads: Sequence[Mapping[str, Any]] = ()
    inner_scores: pd.DataFrame | None = None
    image_baselines: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    classes: tuple[str, ...] = ()
    class_labels: Sequence[str] = ()
    class_scores: FloatArray | None = None
