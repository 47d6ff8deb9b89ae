"""The parts of `evaluation.json` that are about parts of the cohort, and single patients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mri_transfer.core.documents import Count, Part, PValue, Share
from mri_transfer.metrics.estimates import Difference, Proportion

__all__ = [
    "AgeBalance",
    "AgeMatched",
    "EffectiveNumbers",
    "Failure",
    "MatchedPairs",
    "ScoredSlice",
    "Subgroup",
    "SubgroupGap",
    "SubgroupGaps",
    "SubgroupSize",
    "Subgroups",
    "Weighted",
]

_Positive = Annotated[float, Field(gt=0)]
_NonNegative = Annotated[float, Field(ge=0)]


class SubgroupSize(Part):
    """Who is in a subgroup, and whether that is enough to say anything."""

    group: str
    """What the patients were grouped by: sex, age band, site, scanner, education or cdr."""
    level: str
    """Which of the group's levels this is; not recorded for patients whose level is missing."""
    n: Count
    """Patients in the subgroup."""
    n_positive: Count
    """Patients in the subgroup with the positive label."""
    n_negative: Count
    """Patients in the subgroup with the negative label."""
    expected_half_width: _NonNegative | None
    """Half-width to expect of the interval of the AUC with so many patients."""
    enough: bool
    """Whether the subgroup is large enough to say anything about it; decided before looking at its
    figures."""
    reason: str | None
    """Why nothing should be said about the subgroup; null where it is large enough."""
    comment: str | None
    """What a reader has to know of how its patients were chosen; null where nothing."""


class Subgroup(SubgroupSize):
    """Figures of one subgroup."""

    auc: Proportion
    """Area under the ROC curve within the subgroup."""
    balanced_accuracy: Proportion
    """Mean of sensitivity and specificity within the subgroup."""
    sensitivity: Proportion
    """Sensitivity within the subgroup."""
    specificity: Proportion
    """Specificity within the subgroup."""
    calibration: Difference
    """Share of positive patients minus mean score within the subgroup: above 0, scores are too
    low."""
    mean_score_positive: Proportion
    """Mean score of the subgroup's patients with the positive label."""


class SubgroupGap(Part):
    """The best against the worst level of one group."""

    group: str
    """What the patients were grouped by."""
    measure: Literal["auc", "sensitivity"]
    """Which figure is compared."""
    n_levels: Count
    """Levels that are large enough to be compared."""
    highest: str | None
    """Level with the highest figure; null without two levels to compare."""
    lowest: str | None
    """Level with the lowest figure; null without two levels to compare."""
    difference: Difference
    """Figure of the highest minus figure of the lowest level. The interval makes no allowance for
    choosing the extremes."""
    p: PValue
    """How often levels permuted at random within each label differ as much; null where nothing was
    compared."""
    p_holm: PValue
    """The same, adjusted by Holm's method for all comparisons of this list; null where nothing was
    compared."""


class SubgroupGaps(Part):
    """Best against worst of each group's levels that are large enough."""

    rows: tuple[SubgroupGap, ...]
    """One entry a group and measure."""
    note: str
    """How many comparisons were made, and what follows from that."""


class Subgroups(Part):
    """How good the scores are in parts of the cohort, and whether the parts differ."""

    rows: tuple[Subgroup, ...]
    """Figures of every subgroup, one entry each."""
    gaps: SubgroupGaps


class AgeBalance(Part):
    """All patients of known age, as they are."""

    auc: Proportion
    """Area under the ROC curve among these patients."""
    age_auc: Proportion
    """The same area with age in the place of the score: 0.5 where age no longer tells the labels
    apart."""
    age_difference_years: float | None
    """Mean age of the positive patients minus that of the negative ones, in years; null where
    undefined."""
    age_smd: float | None
    """The same difference in standard deviations of age among all patients; null where
    undefined."""


class MatchedPairs(AgeBalance):
    """Pairs of one positive and one negative patient of the same age."""

    n_pairs: Count
    """Pairs of patients."""
    won_within_pairs: Proportion
    """Share of the pairs whose positive patient has the higher score; `n` counts pairs."""


class EffectiveNumbers(Part):
    """How many unweighted patients the weighted ones are worth."""

    positive: _NonNegative | None
    """Patients that those with the positive label are worth; null where undefined."""
    negative: _NonNegative | None
    """Patients that those with the negative label are worth; null where undefined."""


class Weighted(AgeBalance):
    """All patients, weighted until both labels are of the same age (overlap weights)."""

    covariates: tuple[str, ...]
    """What the weights balance."""
    effective_n: EffectiveNumbers


class AgeMatched(Part):
    """Whether the score tells patients apart who are equally old."""

    caliper_years: _Positive
    """Largest difference in age within a matched pair, in years."""
    matched_on: tuple[str, ...]
    """What pairs agree in."""
    n_patients: Count
    """Patients whose age is known."""
    n_age_missing: Count
    """Patients whose age is not known; they are left out."""
    all: AgeBalance
    matched: MatchedPairs
    weighted: Weighted
    sentence: str
    """The same in a few sentences."""


class ScoredSlice(Part):
    """A slice and its score."""

    scan_id: str
    """Scan that the slice was cut from, as in the manifest."""
    slice: Count
    """Number of the slice within its scan, from 0 at the lowest."""
    z_mm: float
    """Height of the slice in millimetres."""
    score: Share
    """Score of the slice, the head's own probability of the positive label, mean over repeats."""


class Failure(Part):
    """A patient whom the scores fail."""

    patient_id: str
    """Patient, as in the manifest."""
    label: str
    """The patient's label by the reference standard."""
    loss: _NonNegative
    """Log loss: minus the natural logarithm of the score given to the patient's own label, mean
    over repeats. A score of one half costs 0.69."""
    mean_score: Share
    """Score of the patient, mean over repeats."""
    score_low: Share
    """Lowest score of the patient in a repeat."""
    score_high: Share
    """Highest score of the patient in a repeat."""
    called_wrongly: Share
    """Share of the repeats in which the patient is called wrongly."""
    covariates: dict[
        Annotated[str, Field(description="Column of the manifest.")],
        str | int | float | bool | None,
    ]
    """What the manifest says of the patient; null where missing."""
    slices: tuple[ScoredSlice, ...]
    """All slices of the patient, from the lowest up; empty where slices were not scored."""
    lowest_slices: tuple[ScoredSlice, ...]
    """The patient's slices with the lowest scores, the lowest first."""
    highest_slices: tuple[ScoredSlice, ...]
    """The patient's slices with the highest scores, the highest first."""
