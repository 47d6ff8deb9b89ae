"""What `external.json` and `aggregate.json` have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mri_transfer.core.documents import Count, Document, OptionalText, Part, absent
from mri_transfer.evaluation.notices import Notice
from mri_transfer.metrics.intervals import Estimate

__all__ = [
    "BundleFacts",
    "CaseMix",
    "CaseMixComparison",
    "Criterion",
    "ExternalTest",
    "Moments",
    "MomentsByLabel",
    "MomentsDifference",
    "RecalibrationAdvice",
    "RecalibrationWay",
    "SampleSize",
    "SizeCriterion",
    "ToldCaseMix",
    "Way",
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


class ExternalTest(Document):
    """What stands at the head of every document of an external test."""

    positive_label: str
    """The label whose probability the score is."""
    negative_label: str
    """What the others are called."""
    confidence: float
    """Of every interval."""
    synthetic: bool
    """Whether the patients are made up."""
    warnings: tuple[Notice, ...]
    """What must be read first: a synthetic cohort or model, an untrained trunk."""
    bundle: BundleFacts


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


class Way(Part):
    """One way to recalibrate."""

    way: str
    """none, intercept or intercept_and_slope."""
    log_loss: float
    """Mean log loss on patients that the map was not learned from."""


class RecalibrationWay(Way):
    """One way to recalibrate, with its map."""

    parameters: dict[Annotated[str, Field(description="A parameter.")], float | Estimate]
    """What the map is described by, on the log-odds."""


class RecalibrationAdvice(Part):
    """What recalibrating would bring; it is not applied."""

    ways: tuple[RecalibrationWay, ...]
    """Each way."""
    least: str | None
    """The way with the least log loss."""
    reason: OptionalText = None
    """Why nothing was computed."""


class SizeCriterion(Part):
    """One criterion of size."""

    figure: str
    """What it is about."""
    n_needed: Count | None
    """Patients needed in this cohort's proportion."""
    enough: bool
    """Whether it is met."""
    source: str
    """Whose criterion it is."""


class Criterion(SizeCriterion):
    """One criterion of size, with what it is judged by."""

    target_half_width: float | None = Field(default=None, exclude_if=absent)
    """Half-width aimed at."""
    expected_half_width: float | None = Field(default=None, exclude_if=absent)
    """Half-width to expect here."""
    target: Count | None = Field(default=None, exclude_if=absent)
    """Patients aimed at."""
    found: Count | None = Field(default=None, exclude_if=absent)
    """Patients found."""
    reason: OptionalText = None
    """Why something is missing."""


class SampleSize(Part):
    """Whether the cohort is large enough."""

    criteria: tuple[Criterion, ...]
    """Criteria."""
    all_enough: bool
    """Whether all are met."""
