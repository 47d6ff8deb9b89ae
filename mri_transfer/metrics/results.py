"""What the functions of this room return where it is more than one estimate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mri_transfer.core.documents import Count, OptionalText, Part, PValue, Share
from mri_transfer.metrics.estimates import ConfusionMatrix, NonNegative, Proportion
from mri_transfer.metrics.intervals import Estimate

__all__ = [
    "AucPrecision",
    "CalibrationCurve",
    "ClassFigures",
    "ComparedFigure",
    "DecisionCurve",
    "Discordance",
    "DiscordantRepeat",
    "ExternalFigure",
    "FigurePrecision",
    "MacroFigures",
    "McNemar",
    "OneVsRest",
    "OperatingPoint",
    "OtherCurve",
    "PatientsNeeded",
    "Precision",
    "PredictiveValues",
    "Rates",
    "RocCurve",
    "SmoothCurve",
    "ThresholdRange",
]

_Probability = Annotated[float, Field(gt=0.0, lt=1.0)]
_NetBenefit = Annotated[float, Field(le=1.0)]
_HalfWidth = Annotated[float, Field(ge=0.0)]


class Rates(Part):
    """Figures of calls at a threshold."""

    sensitivity: Proportion
    """Share of the patients with the positive label who are called positive."""
    specificity: Proportion
    """Share of the patients with the negative label who are called negative."""
    ppv: Proportion
    """Positive predictive value: share of the patients called positive who have the positive
    label. Holds at this cohort's share of positive patients only."""
    npv: Proportion
    """Negative predictive value: share of the patients called negative who have the negative
    label. Holds at this cohort's share of positive patients only."""
    accuracy: Proportion
    """Share of all patients who are called correctly."""
    balanced_accuracy: Proportion
    """Mean of sensitivity and specificity."""
    positive_likelihood_ratio: NonNegative
    """Sensitivity / (1 - specificity): by what factor a positive call multiplies the odds of the
    positive label."""
    negative_likelihood_ratio: NonNegative
    """(1 - sensitivity) / specificity: by what factor a negative call multiplies the odds of the
    positive label."""


class RocCurve(Part):
    """Mean of the repeats' ROC curves.

    The mean sensitivity at each false positive rate; points from (0, 0) to (1, 1).
    """

    fpr: tuple[Share, ...]
    """False positive rate, 1 - specificity, of each point."""
    tpr: tuple[Share, ...]
    """True positive rate, the sensitivity, of each point."""
    auc: Share
    """Area under this curve: the primary figure, patient.auc."""


class SmoothCurve(Part):
    """Smoothed calibration curve: one entry a point, from the lowest to the highest score."""

    predicted: tuple[Share, ...]
    """Score at the point of the curve."""
    observed: tuple[Share, ...]
    """Frequency of the positive label that the smoother expects at the score."""
    ci_low: tuple[Share, ...] | None
    """Lower limit of the pointwise band; null where there is none."""
    ci_high: tuple[Share, ...] | None
    """Upper limit of the pointwise band; null where there is none."""
    method: str
    """How curve and band were made."""
    reason: OptionalText = None
    """Why there is no band; absent where there is one."""


class CalibrationCurve(Part):
    """Observed frequency of the positive label against the score, in bins of similar scores.

    One entry a bin, in rising order of score.
    """

    predicted: tuple[Share, ...]
    """Mean score in the bin."""
    observed: tuple[Share, ...]
    """Share of the bin's patients who have the positive label."""
    n: tuple[Annotated[float, Field(gt=0)], ...]
    """Patients in each bin, averaged over repeats."""
    ci_low: tuple[Share, ...]
    """Lower limit of the exact interval of the observed share."""
    ci_high: tuple[Share, ...]
    """Upper limit of the exact interval of the observed share."""


class OtherCurve(Part):
    """A baseline's decision curve, and the model's gain over it."""

    net_benefit: tuple[_NetBenefit, ...]
    """Net benefit of treating whom the baseline scores at the threshold or above."""
    difference: tuple[Estimate, ...]
    """Net benefit of the model minus that of the baseline."""


class DecisionCurve(Part):
    """Net benefit of acting on the score, TP / n - FP / n * t / (1 - t), at thresholds t.

    Each list has one entry a threshold.
    """

    thresholds: tuple[_Probability, ...]
    """Threshold probabilities from which one would act."""
    treat_all: tuple[_NetBenefit, ...]
    """Net benefit of treating everybody."""
    treat_none: tuple[_NetBenefit, ...]
    """Net benefit of treating nobody: 0."""
    model: tuple[Estimate, ...]
    """Net benefit of treating whom the model scores at the threshold or above."""
    gain: tuple[Estimate, ...]
    """Net benefit of the model minus the better of treating everybody and treating nobody."""
    others: dict[Annotated[str, Field(description="Name of the baseline.")], OtherCurve]
    """The same for each baseline of covariates."""


class ThresholdRange(Part):
    """Score from which patients are called positive, one a fold."""

    mean: float
    """Mean of the thresholds over folds."""
    min: float
    """Lowest threshold of a fold."""
    max: float
    """Highest threshold of a fold."""


class OperatingPoint(Rates):
    """What the thresholds of one aim reach on held-out patients."""

    target: str
    """The aim, such as sensitivity 0.9."""
    threshold: ThresholdRange
    confusion: ConfusionMatrix


class PredictiveValues(Part):
    """Predictive values at one share of positive patients."""

    prevalence: _Probability
    """Share of positive patients."""
    ppv: Proportion
    """Positive predictive value at this share of positive patients."""
    npv: Proportion
    """Negative predictive value at this share of positive patients."""


class PatientsNeeded(Part):
    """How many patients one half-width takes."""

    half_width: Annotated[float, Field(gt=0)]
    """Half-width of the interval that is wanted."""
    n: Annotated[int, Field(ge=1)]
    """Patients it takes, of both labels in this cohort's proportion."""
    method: str
    """How the number of patients was computed."""


class FigurePrecision(Part):
    """How precise one figure is."""

    value: float | None
    """The figure as it came out in this cohort; null where it is undefined."""
    half_width: _HalfWidth | None
    """Half the length of the interval reported for this cohort; null where it has none."""
    patients: tuple[PatientsNeeded, ...]
    """How many patients smaller half-widths would take; empty where that cannot be said."""
    reason: OptionalText = None
    """Why something is missing; absent where nothing is."""


class AucPrecision(FigurePrecision):
    """How precise the area under the ROC curve is."""

    expected_half_width: _HalfWidth | None
    """Half-width to expect of the interval from the AUC and the numbers of patients alone (Hanley
    and McNeil)."""


class Precision(Part):
    """How precise the main figures are with this many patients, and how many would do more."""

    n: Count
    """Patients evaluated."""
    n_positive: Count
    """Patients with the positive label."""
    n_negative: Count
    """Patients with the negative label."""
    confidence: _Probability
    """Confidence of the intervals that half-widths are measured on."""
    auc: AucPrecision
    """Area under the ROC curve."""
    sensitivity: FigurePrecision
    """Sensitivity at the threshold."""
    specificity: FigurePrecision
    """Specificity at the threshold."""
    calibration_slope: FigurePrecision
    """Calibration slope."""


class Discordance(Part):
    """Patients whom one of two models calls correctly and the other does not."""

    n: Count
    """Patients compared."""
    first_only: Count
    """Patients whom only the model calls correctly."""
    second_only: Count
    """Patients whom only the baseline calls correctly."""
    p_exact: PValue
    """Exact binomial p value, two-sided, of as many discordant patients on either side."""
    p_mid: PValue
    """The same by the mid-p rule, which keeps its level and loses less power."""


class DiscordantRepeat(Part):
    """Discordant patients of one repeat."""

    repeat: Count
    """Number of the repetition of the cross-validation, from 0."""
    first_only: Count
    """Patients whom only the model calls correctly in this repeat."""
    second_only: Count
    """Patients whom only the baseline calls correctly in this repeat."""


class McNemar(Part):
    """Whether the model or the baseline calls more patients correctly."""

    accuracy: Discordance
    """Among all patients."""
    sensitivity: Discordance
    """Among patients with the positive label."""
    specificity: Discordance
    """Among patients with the negative label."""
    per_repeat: tuple[DiscordantRepeat, ...]
    """Counts of discordant patients in each repeat."""
    method: str
    """How one call a patient was made of the repeats, and p values of the counts."""


class OneVsRest(Part):
    """One class against all others."""

    auc: Proportion
    """Area under the ROC curve of the class against the rest."""
    sensitivity: Proportion
    """Share of the patients of the class who are called so."""
    specificity: Proportion
    """Share of the other patients who are not called so."""
    precision: Proportion
    """Share of the patients called so who are of the class."""


class MacroFigures(Part):
    """Figures over all classes."""

    auc: Proportion
    """Mean over classes of the area under the ROC curve of one against the rest."""
    auc_hand_till: Proportion
    """Mean over pairs of classes of the area under the ROC curve (Hand and Till); does not depend
    on how frequent classes are."""
    accuracy: Proportion
    """Share of all patients who are called correctly."""
    balanced_accuracy: Proportion
    """Mean over classes of the sensitivity."""
    brier: Estimate
    """Brier score over all classes, 0 to 2; 0 is perfect."""
    log_loss: Estimate
    """Minus the natural logarithm of the probability given to the patient's own class, mean over
    patients; 0 is perfect."""


_Class = Annotated[str, Field(description="The class.")]


class ClassFigures(Part):
    """Figures of a prediction among three or more classes."""

    classes: Annotated[tuple[str, ...], Field(min_length=3)]
    """The classes, in the order of rows and columns."""
    n_patients: dict[_Class, Count]
    """Patients of each class."""
    confusion: tuple[tuple[Annotated[float, Field(ge=0)], ...], ...]
    """Patients averaged over repeats: one row a reference class, one column a predicted class."""
    one_vs_rest: dict[_Class, OneVsRest]
    """Each class against all others."""
    macro: MacroFigures


class ComparedFigure(Part):
    """Whether a figure is the same in two cohorts that share no patient."""

    figure: str
    """Its name."""
    intervals_overlap: bool | None
    """Whether the two intervals overlap."""
    p: PValue
    """Two-sided p value of the same AUC in both; null for other figures."""


class ExternalFigure(ComparedFigure):
    """A figure here and in internal testing."""

    external: Estimate
    """In this cohort."""
    internal: Estimate
    """In internal testing."""
    difference: Estimate
    """External minus internal."""
