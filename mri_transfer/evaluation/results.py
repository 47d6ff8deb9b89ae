"""The parts of `evaluation.json` that this room computes; those of the metrics are theirs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from mri_transfer.core.documents import Count, OptionalText, Part, PValue, absent
from mri_transfer.metrics.estimates import (
    ConfusionMatrix,
    Difference,
    Proportion,
    TestedDifference,
    TestedFoldDifference,
)
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.results import CalibrationCurve, McNemar, Rates, SmoothCurve

__all__ = [
    "BaselineComparison",
    "BrierParts",
    "Calibration",
    "Caveat",
    "ConfusionTable",
    "IncrementalValue",
    "LikelihoodRatioTest",
    "PatientFigures",
    "SliceFigures",
]

_NonNegative = Annotated[float, Field(ge=0)]


class ConfusionTable(Part):
    """Patients by reference label and predicted label, averaged over repeats."""

    labels: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]
    """The labels of rows and columns, the negative one first."""
    matrix: ConfusionMatrix


class PatientFigures(Rates):
    """Figures of the patients' held-out scores: folds pooled within a repeat, repeats averaged."""

    auc: Proportion
    """Area under the ROC curve, interval by DeLong on the logit scale: the primary figure."""
    auc_bootstrap: Proportion
    """The same area, interval by the stratified bootstrap of patients."""
    average_precision: Proportion
    """Area under the curve of precision against recall."""
    brier: Proportion
    """Brier score: mean squared difference of score and label (0 or 1). 0 is perfect; a score of
    0.5 for everybody gives 0.25."""
    calibration_intercept: Estimate
    """Calibration in the large, in log-odds: the shift of all scores that fits what was observed.
    0 is right; below 0, scores are too high."""
    calibration_slope: Estimate
    """Factor on the log-odds of all scores that fits what was observed. 1 is right; below 1,
    scores are too extreme."""
    ici: Proportion
    """Integrated calibration index: mean distance of the smoothed calibration curve from the
    diagonal, on the scale of the score."""
    e50: Proportion
    """Median distance of the smoothed calibration curve from the diagonal."""
    e90: Proportion
    """90th percentile of the distance of the smoothed calibration curve from the diagonal."""
    emax: Proportion
    """Largest distance of the smoothed calibration curve from the diagonal."""
    ici_if_calibrated: Proportion
    """What chance alone makes of the ICI were the scores calibrated: mean and central range over
    labels drawn from the scores, no interval of this cohort."""


class BrierParts(Part):
    """What the Brier score is made of: miscalibration - discrimination + uncertainty."""

    miscalibration: Estimate
    """By how much isotonic recalibration lowers the Brier score; 0 is best."""
    discrimination: Estimate
    """By how much recalibrated scores are better than the share of positive patients given to
    everybody; 0 is worst."""
    miscalibration_if_calibrated: Estimate
    """What chance alone makes of the miscalibration were the scores calibrated: mean and central
    range over labels drawn from the scores, no interval of this cohort."""
    uncertainty: Proportion
    """Brier score of the share of positive patients given to everybody: 0.25 with as many positive
    as negative patients."""
    scaled_brier: Estimate
    """1 - Brier score / uncertainty: 1 is perfect, 0 no better than the share of positive patients
    given to everybody; may be negative."""


class SliceFigures(Part):
    """Figures that count slices, for comparison with studies that report them.

    `n` counts slices; intervals resample patients.
    """

    accuracy: Proportion
    """Share of the slices called correctly at a score of 0.5."""
    auc: Proportion
    """Area under the ROC curve of the slices' scores."""
    balanced_accuracy: Proportion
    """Mean over the labels of the share of their slices called correctly at a score of 0.5."""


class Calibration(CalibrationCurve):
    """Observed frequency of the positive label against the score, in bins and smoothed.

    One entry a bin of similar scores, rising.
    """

    smooth: SmoothCurve


class BaselineComparison(Part):
    """A simpler model on the same patients, folds and repeats, compared with the model."""

    kind: Literal["constant", "covariates", "image"]
    """constant: no input; covariates: what is known without the image; image: simpler readings of
    the image, or the same head on an untrained trunk."""
    covariates: tuple[str, ...]
    """Covariates that the baseline reads."""
    auc: Proportion
    """Area under the ROC curve of the baseline."""
    balanced_accuracy: Proportion
    """Mean of sensitivity and specificity of the baseline at its own threshold."""
    auc_difference: TestedDifference
    """AUC of the model minus that of the baseline, by DeLong's paired method."""
    auc_difference_bootstrap: Difference
    """AUC of the model minus that of the baseline, by the paired bootstrap of patients."""
    auc_difference_folds: TestedFoldDifference
    """Mean over folds of the AUC of the model minus that of the baseline, with the corrected
    variance of Nadeau and Bengio; `n` counts folds."""
    mcnemar: McNemar | None
    """Whether the model or the baseline calls more patients correctly; null where the baseline
    could not be fitted."""


class LikelihoodRatioTest(Part):
    """Test of the image's score beside the covariates.

    The scores come from cross-validation: read the corrected p values.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"p": {"type": "number"}}},
            "else": {"required": ["reason"]},
        }
    )

    n: Count
    """Patients in the models."""
    chi2: _NonNegative | None
    """Twice the difference of the log-likelihoods of the models with and without the image's
    score; null where undefined."""
    df: Annotated[int, Field(ge=1)]
    """Degrees of freedom of chi-squared."""
    p: PValue
    """p value of the statistic; null where undefined."""
    p_one_sided: PValue
    """p value against a positive coefficient only; null where undefined."""
    p_corrected: PValue
    """p value of half the statistic, which allows for scores that have learnt from the other
    patients' labels; null where undefined."""
    p_one_sided_corrected: PValue
    """p value of half the statistic against a positive coefficient only: the one to read; null
    where undefined."""
    coefficient: Estimate
    """Log-odds of the positive label by one unit of the image's log-odds, beside the
    covariates."""
    method: str
    """What was tested, and how."""
    note: str
    """Which p value to read, and why."""
    reason: OptionalText = None
    """Why there is no test; absent where there is one."""

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.p is None and self.reason is None:
            raise ValueError("a missing test needs a reason")
        return self


_JOINED = (
    "joined_auc",
    "joined_minus_covariates",
    "joined_minus_covariates_bootstrap",
    "joined_minus_image",
    "joined_minus_image_bootstrap",
)


class IncrementalValue(Part):
    """What the image adds to one set of covariates."""

    model_config = ConfigDict(
        json_schema_extra={"if": {"required": ["reason"]}, "else": {"required": list(_JOINED)}}
    )

    covariates: tuple[str, ...]
    """Covariates that are known without the image."""
    likelihood_ratio_test: LikelihoodRatioTest
    joined_auc: Proportion | None = Field(default=None, exclude_if=absent)
    """Area under the ROC curve of a model of covariates and image together, fitted inside the
    folds."""
    joined_minus_covariates: TestedDifference | None = Field(default=None, exclude_if=absent)
    """AUC of the joined model minus that of the covariates alone, by DeLong's paired method."""
    joined_minus_covariates_bootstrap: Difference | None = Field(default=None, exclude_if=absent)
    """The same difference, by the paired bootstrap of patients."""
    joined_minus_image: TestedDifference | None = Field(default=None, exclude_if=absent)
    """AUC of the joined model minus that of the image alone, by DeLong's paired method."""
    joined_minus_image_bootstrap: Difference | None = Field(default=None, exclude_if=absent)
    """The same difference, by the paired bootstrap of patients."""
    reason: OptionalText = None
    """Why there is no joined model; absent where there is one."""

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.reason is None and any(getattr(self, name) is None for name in _JOINED):
            raise ValueError("a missing joined model needs a reason")
        return self


class Caveat(Part):
    """What a reader has to know before believing the figures."""

    code: Annotated[str, Field(pattern="^[a-z_]+$")]
    """Stable name of the caveat."""
    text: str
    """The caveat in words."""
