"""The part of `audit.json` that is about what else the features tell."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from mri_transfer.core.documents import Count, Part, PValue, absent
from mri_transfer.metrics.estimates import AtMostOne, Correlation, NonNegative, Proportion

__all__ = [
    "AgeAndLabel",
    "AgeAndScore",
    "LevelsAndLabel",
    "LevelsAndScore",
    "Probed",
    "ProbedWithin",
    "ShortcutProbe",
    "Shortcuts",
    "Verdict",
]

_Label = Annotated[str, Field(description="A label of the cohort.")]
Verdict: TypeAlias = Literal["possible", "readable", "confounded", "not shown", "unknown"]
_Level = Annotated[str, Field(description="The level.")]


class Probed(Part):
    """What the features tell of a covariate; figures of age, or of levels."""

    r2: AtMostOne | None = Field(default=None, exclude_if=absent)
    """Age: share of the variance of age that the features predict on held-out patients; may be
    negative."""
    correlation: Correlation | None = Field(default=None, exclude_if=absent)
    """Age: correlation of predicted and true age."""
    mae_years: NonNegative | None = Field(default=None, exclude_if=absent)
    """Age: mean absolute error of the predicted age, in years."""
    auc: Proportion | None = Field(default=None, exclude_if=absent)
    """Levels: area under the ROC curve of one level against the others, mean over levels; 0.5 is
    chance."""
    balanced_accuracy: Proportion | None = Field(default=None, exclude_if=absent)
    """Levels: mean over levels of the share of their patients recognised."""


class ProbedWithin(Probed):
    """What the features tell of a covariate among the patients of one label."""

    n: Count
    """Patients probed, or there to be probed."""


class LabelAssociation(Part):
    """How the covariate goes with the label in this cohort."""

    statistic: str
    """Which measure of association."""
    value: float | None
    """The association; null where undefined."""
    p: PValue
    """p value of independence; null where undefined."""


class AgeAndLabel(LabelAssociation):
    """How age goes with the label in this cohort."""

    between: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)] | None
    """Age: the two labels that differ most, first minus second; null where undefined."""


class LevelsAndLabel(LabelAssociation):
    """How levels go with the label in this cohort."""

    counts: dict[_Label, dict[_Level, Count]]
    """Levels: patients by label and level."""


class AgeAndScore(Part):
    """How the model's score goes with age among the patients of one label."""

    spearman: Correlation
    """Age: rank correlation of score and age."""


class LevelsAndScore(Part):
    """How the model's score goes with levels among the patients of one label."""

    mean_score: dict[_Level, Proportion]
    """Levels: mean score of each level."""
    p: PValue
    """Levels: p value of equal scores, by Kruskal and Wallis; null where undefined."""


class ShortcutProbe(Part):
    """What the features tell of one covariate, and whether the score could have used it."""

    covariate: str
    """Name of the covariate."""
    kind: Literal["continuous", "categorical"]
    """continuous for age, categorical for all else."""
    n: Count
    """Patients of whom it is known."""
    within: dict[_Label, ProbedWithin]
    """What the features tell of it among the patients of one label."""
    pooled: Probed
    """The same over the labels, each probed for itself."""
    p: PValue
    """How often features permuted between the patients of a label tell as much; null where not
    probed."""
    label_association: AgeAndLabel | LevelsAndLabel
    """How the covariate goes with the label in this cohort."""
    score: dict[_Label, AgeAndScore | LevelsAndScore]
    """How the model's score goes with the covariate among the patients of one label; empty without
    scores."""
    verdict: Verdict
    """possible: the features tell it and it goes with the label; readable: they tell it only;
    confounded: each level has one label; not shown; unknown."""
    sentence: str
    """The verdict with its grounds."""


class Shortcuts(Part):
    """What else the features tell within each label, and whether the score could have used it."""

    n_folds: Annotated[int, Field(ge=2)]
    """Folds of a probe."""
    n_permutations: Count
    """Permutations behind each p value."""
    covariates: tuple[ShortcutProbe, ...]
    """One entry a covariate."""
