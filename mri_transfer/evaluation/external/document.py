"""The content of `external.json`: a finished model tested on another cohort."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mri_transfer.core.documents import Count, OptionalText, Part, absent
from mri_transfer.evaluation.external.results import (
    CaseMixComparison,
    ExternalTest,
    RecalibrationAdvice,
    SampleSize,
)
from mri_transfer.evaluation.results import PatientFigures
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.results import ExternalFigure

__all__ = [
    "CohortCounts",
    "CohortSampleSize",
    "ExternalDocument",
    "OneLabel",
    "OutsideContract",
    "Population",
    "Populations",
    "Rechosen",
    "UsedThreshold",
]

_SCHEMA: Literal["mri-transfer/external/1"] = "mri-transfer/external/1"
_Rate = Annotated[str, Field(description="A rate.")]


class UsedThreshold(Part):
    """The threshold of calls."""

    bundle: float
    """Brought by the bundle."""
    origin: str = Field(validation_alias="from", serialization_alias="from")
    """How it was set."""
    used: Literal["bundle", "rechosen"]
    """Which one calls are by."""


class OutsideContract(Part):
    """A check of the input contract that patients do not meet."""

    check: str
    """Its title."""
    n: Count
    """Patients who do not meet it."""


class CohortCounts(Part):
    """Who counts."""

    n_readable: Count
    """Patients who could be scored."""
    n_overlapping: Count
    """Of them, who were trained on."""
    overlap_counted: bool
    """Whether these count."""
    contract_known: bool
    """Whether inputs were judged."""
    n_outside_contract: Count
    """Patients outside the input contract."""
    outside_contract: tuple[OutsideContract, ...]
    """By check."""


class Rechosen(Part):
    """A threshold chosen on this cohort."""

    threshold: float | None
    """Chosen on all its patients."""
    reason: OptionalText = None
    """Why none was chosen."""
    method: OptionalText = None
    """How."""
    apparent: dict[_Rate, float | None] | None = Field(default=None, exclude_if=absent)
    """Rates on the patients that chose it: optimistic."""
    cross_validated: dict[_Rate, Estimate] | None = Field(default=None, exclude_if=absent)
    """Rates of thresholds chosen without the patients they call."""


class CohortSampleSize(SampleSize):
    """Whether the cohort is large enough."""

    n: Count
    """Patients."""
    n_positive: Count
    """With the positive label."""
    n_negative: Count
    """With the other."""


class OneLabel(Part):
    """What patients of one label tell."""

    n: Count
    """Patients."""
    label_is_positive: bool
    """Whether they have the positive label."""
    sensitivity: Estimate | None = Field(default=None, exclude_if=absent)
    """Share called correctly, of the positive label."""
    specificity: Estimate | None = Field(default=None, exclude_if=absent)
    """Share called correctly, of the negative label."""
    mean_score: Estimate
    """Mean score."""
    expected_positive: float
    """Patients of the positive label that the scores expect."""
    not_defined: tuple[str, ...]
    """Figures that need both labels."""


class Population(Part):
    """Figures of some patients."""

    n: Count
    """Patients."""
    n_positive: Count
    """With the positive label."""
    reason: str | None = None
    """Why most figures are missing."""
    figures: PatientFigures | None = None
    """Figures by name; null where there are patients of one label only."""
    comparison: tuple[ExternalFigure, ...] = ()
    """Beside internal testing."""
    observed_to_expected: Estimate | None = None
    """Observed to expected patients of the positive label."""
    rechosen: Rechosen | None = None
    """A threshold chosen on this cohort."""
    recalibration: RecalibrationAdvice | None = None
    """What recalibrating would bring; it is not applied."""
    sample_size: CohortSampleSize | None = None
    """Whether the cohort is large enough."""
    case_mix: CaseMixComparison | None = None
    """Case-mix here and in development."""
    one_label: OneLabel | None = None
    """What patients of one label tell."""


class Populations(Part):
    """Figures of all, and of those inside the input contract."""

    all: Population
    """All readable patients who count."""
    in_contract: Population
    """Those inside the input contract."""


class ExternalDocument(ExternalTest):
    """A finished model tested on another cohort."""

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/external/1"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this form."""
    threshold: UsedThreshold
    cohort: CohortCounts
    populations: Populations
