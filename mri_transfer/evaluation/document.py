"""Evaluation: the content of `evaluation.json`, and the tables it was made from."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

import pandas as pd
from pydantic import Field

from mri_transfer.core.documents import Count, Document
from mri_transfer.evaluation.fold_results import Choice, FoldRow, RepeatRow
from mri_transfer.evaluation.group_results import (
    AgeMatched,
    Failure,
    Subgroups,
)
from mri_transfer.evaluation.results import (
    BaselineComparison,
    BrierParts,
    Calibration,
    Caveat,
    ConfusionTable,
    IncrementalValue,
    PatientFigures,
    SliceFigures,
)
from mri_transfer.metrics.results import (
    ClassFigures,
    DecisionCurve,
    OperatingPoint,
    Precision,
    PredictiveValues,
    RocCurve,
)

__all__ = ["Evaluation", "EvaluationDocument"]

_SCHEMA: Literal["mri-transfer/evaluation/3"] = "mri-transfer/evaluation/3"


class EvaluationDocument(Document):
    """How good the held-out scores of a cohort are, with intervals.

    A patient is the unit throughout.
    """

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/evaluation/3"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this document's form."""
    n_patients: Annotated[int, Field(ge=2)]
    """Patients evaluated."""
    n_scans: Count | None
    """Scans evaluated; null where slices were not scored and nobody said."""
    n_slices: Count | None
    """Slices evaluated; null where slices were not scored and nobody said."""
    n_repeats: Annotated[int, Field(ge=1)]
    """Repetitions of the cross-validation."""
    n_folds: Annotated[int, Field(ge=1)]
    """Outer folds of a repetition; a patient is held out by one of them."""
    negative_label: str
    """The label that a low score stands for, such as CN."""
    positive_label: str
    """The label whose probability the score is, such as AD."""
    n_positive: Annotated[int, Field(ge=1)]
    """Patients with the positive label."""
    synthetic: bool
    """Whether the cohort is made up; its figures then say nothing about patients."""
    trunk_weights: Literal["imagenet", "scans", "random"]
    """Where the weights of the frozen trunk come from; random is the untrained control."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Confidence of every interval, such as 0.95."""
    bootstrap_samples: Annotated[int, Field(ge=1)]
    """Resamples of patients behind each bootstrap interval."""
    confusion: ConfusionTable
    patient: PatientFigures
    brier_parts: BrierParts
    slice: SliceFigures
    roc: RocCurve
    calibration: Calibration
    decision_curve: DecisionCurve
    operating_points: tuple[OperatingPoint, ...]
    """What thresholds that were set on training patients for a stated aim reach on held-out
    patients; one entry an aim."""
    predictive_values: tuple[PredictiveValues, ...]
    """Predictive values that this sensitivity and specificity would give at other shares of
    positive patients; one entry a share."""
    precision: Precision
    subgroups: Subgroups
    age_matched: AgeMatched
    failures: tuple[Failure, ...]
    """The patients whom the scores fail most, the worst first."""
    per_repeat: tuple[RepeatRow, ...]
    """Figures of each repetition of the cross-validation, without intervals."""
    per_fold: tuple[FoldRow, ...]
    """Figures of each fold of each repetition: its few patients, without intervals."""
    choices: tuple[Choice, ...]
    """What each outer fold chose, on its training patients alone. Empty where nobody told."""
    baselines: dict[Annotated[str, Field(description="Name of the baseline.")], BaselineComparison]
    """Simpler models on the same patients, folds and repeats, each compared with the model."""
    incremental_value: dict[
        Annotated[str, Field(description="The set of covariates, by its baseline's name.")],
        IncrementalValue,
    ]
    """What the image adds to the richest sets of covariates."""
    classes: ClassFigures | None
    """Figures of a prediction among three or more classes; null where there are two."""
    caveats: tuple[Caveat, ...] = ()
    """What a reader has to know before believing the figures, found by rules."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation that was just made.

    Attributes
    ----------
    document : EvaluationDocument
        The content of `evaluation.json`.
    baseline_scores : DataFrame
        The scores of every baseline: column baseline, then those of `predictions/patients.csv`.
        No part of a comparison.
    """

    document: EvaluationDocument
    baseline_scores: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame, compare=False)
