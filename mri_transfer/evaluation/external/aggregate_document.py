"""The content of `aggregate.json`: what may be sent out of an external test."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mri_transfer.core.documents import Count, Part
from mri_transfer.evaluation.external.results import ExternalTest, SizeCriterion, ToldCaseMix, Way
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.results import ComparedFigure

__all__ = [
    "AggregateDocument",
    "BareEstimate",
    "Calls",
    "CallsTold",
    "LeftOut",
    "PrevalenceTold",
    "ScoreBand",
    "ToldAge",
    "ToldCriterion",
    "ToldFigure",
    "ToldLevel",
    "ToldRecalibration",
    "ToldSampleSize",
    "ToldWay",
]

_SCHEMA: Literal["mri-transfer/aggregate/1"] = "mri-transfer/aggregate/1"
_Figure = Annotated[str, Field(description="Name of the figure.")]


class BareEstimate(Part):
    """A figure with its confidence interval; null where undefined.

    The number of patients behind it is not told.
    """

    value: float | None
    """The figure."""
    ci_low: float | None
    """Lower end of the interval."""
    ci_high: float | None
    """Upper end of the interval."""
    method: str | None
    """How the interval was made."""

    @classmethod
    def of(cls, estimate: Estimate) -> BareEstimate:
        """Leave out how many patients are behind a figure, and texts about them."""
        return cls(**{name: getattr(estimate, name) for name in cls.model_fields})

    @property
    def reason(self) -> None:
        """Why something is missing: not told, as it could tell of few patients."""
        return None


class ToldFigure(ComparedFigure):
    """A figure here and in internal testing."""

    external: BareEstimate
    """In this cohort."""
    internal: BareEstimate
    """In internal testing."""
    difference: BareEstimate
    """External minus internal."""


class LeftOut(Part):
    """Scans that a stage left out."""

    stage: str
    """The stage."""
    n: Count | None
    """Scans; null from 1 to 4."""


class ToldLevel(Part):
    """A group of patients."""

    level: str
    """Its name."""
    n_positive: Count
    """Patients of the positive label: 0 or 5 and more."""
    n_negative: Count
    """Patients of the other label: 0 or 5 and more."""


class ToldAge(Part):
    """Age in years."""

    mean: float | None
    """Mean; null where it would tell how few are missing."""
    sd: float | None
    """Standard deviation."""
    bands: tuple[ToldLevel, ...] | None
    """By band."""


class PrevalenceTold(Part):
    """Predictive values at a prevalence."""

    prevalence: float
    """Share of the positive label."""
    ppv: BareEstimate
    """PPV."""
    npv: BareEstimate
    """NPV."""


class CallsTold(Part):
    """Calls at one threshold."""

    threshold: float
    """The score."""
    figures: dict[_Figure, BareEstimate]
    """Rates that leave no small group."""
    by_prevalence: tuple[PrevalenceTold, ...]
    """Predictive values elsewhere."""


class ScoreBand(Part):
    """Patients whose score lies in a band."""

    begin: float = Field(validation_alias="from", serialization_alias="from")
    """Lower end."""
    end: float = Field(validation_alias="to", serialization_alias="to")
    """Upper end."""
    n: Count
    """Patients: 0 or 5 and more."""


class Calls(Part):
    """Calls."""

    bundle_threshold: float
    """Brought by the bundle."""
    thresholds: tuple[CallsTold, ...]
    """Thresholds that leave no small group."""
    score_bands: dict[Annotated[str, Field(description="The label.")], tuple[ScoreBand, ...]]
    """By label: patients by score."""


class ToldWay(Way):
    """One way to recalibrate, with its map."""

    parameters: dict[Annotated[str, Field(description="A parameter.")], float | BareEstimate]
    """What the map is described by, on the log-odds."""


class ToldRecalibration(Part):
    """What recalibrating would bring; it is not applied."""

    ways: tuple[ToldWay, ...]
    """Each way."""
    least: str | None
    """The way with the least log loss."""


class ToldCriterion(SizeCriterion):
    """One criterion of size, with what it is judged by."""

    target_half_width: float | None
    """Half-width aimed at."""
    expected_half_width: float | None
    """Half-width to expect here."""


class ToldSampleSize(Part):
    """Whether the cohort is large enough."""

    criteria: tuple[ToldCriterion, ...]
    """Criteria."""
    all_enough: bool
    """Whether all are met."""


class AggregateDocument(ExternalTest):
    """What may be sent out of an external test."""

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/aggregate/1"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this form."""
    how: str
    """How small counts are kept from being told."""
    smallest_count: int
    """The least count that is told."""
    overlap_counted: bool
    """Whether patients who were trained on count."""
    n_by_label: dict[Annotated[str, Field(description="The label.")], Count | None]
    """Patients by label; null from 1 to 4."""
    n_overlapping: Count | None
    """Patients who were trained on; null from 1 to 4."""
    n_outside_contract: Count | None
    """Patients outside the input contract; null from 1 to 4."""
    left_out: tuple[LeftOut, ...]
    """Scans left out."""
    sex: tuple[ToldLevel, ...] | None
    """By sex; null where not known or too few."""
    age: ToldAge | None
    """Age in years."""
    calls: Calls
    reason: str | None
    """Why figures are missing."""
    figures: dict[_Figure, BareEstimate]
    """Figures by name; empty where there are patients of one label only."""
    comparison: tuple[ToldFigure, ...]
    """Beside internal testing."""
    case_mix: ToldCaseMix | None
    """Case-mix."""
    recalibration: ToldRecalibration | None
    """What recalibrating would bring; it is not applied."""
    sample_size: ToldSampleSize | None
    """Whether the cohort is large enough."""
