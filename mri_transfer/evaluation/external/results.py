"""The parts of `external.json` that `aggregate.json` tells too."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mri_transfer.core.documents import Count, OptionalText, Part, PValue, absent
from mri_transfer.metrics.intervals import Estimate

__all__ = [
    "BundleFacts",
    "CaseMix",
    "CaseMixComparison",
    "Criterion",
    "ExternalFigure",
    "RecalibrationAdvice",
    "RecalibrationWay",
    "SampleSize",
    "ToldCaseMix",
]


class BundleFacts(Part):
    """The model."""

    version: str
    """What its maker called it."""
    digest: str
    """SHA-256 of all its files."""
    n_patients: int
    """Patients it was made of."""
    performance_from: str
    """How its internal figures were measured."""


class ExternalFigure(Part):
    """A figure here and in internal testing."""

    figure: str
    """Its name."""
    external: Estimate
    """In this cohort."""
    internal: Estimate
    """In internal testing."""
    difference: Estimate
    """External minus internal."""
    intervals_overlap: bool | None
    """Whether the two intervals overlap."""
    p: PValue
    """Two-sided p value of the same AUC in both; null for other figures."""


class Moments(Part):
    """Mean, standard deviation and number of patients."""

    mean: float | None
    """Mean."""
    sd: float | None
    """Standard deviation."""
    n: Count
    """Patients of whom it is known."""
    n_missing: Count | None = Field(default=None, exclude_if=absent)
    """Patients of whom it is not known."""


class MomentsByLabel(Part):
    """Log-odds of the scores."""

    all: Moments
    """Of all."""
    positive: Moments
    """Of the positive label."""
    negative: Moments
    """Of the negative label."""


class CaseMix(Part):
    """Who was studied."""

    n: Count
    """Patients."""
    age: Moments
    """Age in years."""
    sex: dict[Annotated[str, Field(description="The sex.")], Count]
    """Patients by sex; empty where not known or not told."""
    linear_predictor: MomentsByLabel
    auc_if_calibrated: float | None
    """AUC to expect were every score the right probability."""


class MomentsDifference(Part):
    """How a cohort differs from that of development."""

    difference: float | None
    """Difference of means."""
    standardised: float | None
    """In units of the pooled standard deviation."""
    sd_ratio: float | None
    """Ratio of standard deviations."""


class ToldCaseMix(Part):
    """How the case-mix differs from that of development."""

    differences: dict[Annotated[str, Field(description="What is compared.")], MomentsDifference]
    """By what is compared."""
    sentences: tuple[str, ...]
    """What follows, in words."""


class CaseMixComparison(ToldCaseMix):
    """Case-mix here and in development."""

    development: CaseMix | None
    """Patients of development; null where the bundle does not tell."""
    cohort: CaseMix
    """Patients of this cohort."""


class RecalibrationWay(Part):
    """One way to recalibrate."""

    way: str
    """none, intercept or intercept_and_slope."""
    parameters: dict[Annotated[str, Field(description="A parameter.")], float | Estimate]
    """What the map is described by, on the log-odds."""
    log_loss: float
    """Mean log loss on patients that the map was not learned from."""


class RecalibrationAdvice(Part):
    """What recalibrating would bring; it is not applied."""

    ways: tuple[RecalibrationWay, ...]
    """Each way."""
    least: str | None
    """The way with the least log loss."""
    reason: OptionalText = None
    """Why nothing was computed."""


class Criterion(Part):
    """One criterion of size."""

    figure: str
    """What it is about."""
    target_half_width: float | None = Field(default=None, exclude_if=absent)
    """Half-width aimed at."""
    expected_half_width: float | None = Field(default=None, exclude_if=absent)
    """Half-width to expect here."""
    target: Count | None = Field(default=None, exclude_if=absent)
    """Patients aimed at."""
    found: Count | None = Field(default=None, exclude_if=absent)
    """Patients found."""
    n_needed: Count | None
    """Patients needed in this cohort's proportion."""
    enough: bool
    """Whether it is met."""
    source: str
    """Whose criterion it is."""
    reason: OptionalText = None
    """Why something is missing."""


class SampleSize(Part):
    """Whether the cohort is large enough."""

    criteria: tuple[Criterion, ...]
    """Criteria."""
    all_enough: bool
    """Whether all are met."""
