"""The parts of `evaluation.json` that are about single repeats and folds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from mri_transfer.core.documents import RESULT, Count, Part, Share, absent

__all__ = ["Choice", "ChosenProcedure", "FoldRow", "RepeatRow", "Trial"]

_NonNegative = Annotated[float, Field(ge=0)]


class _PlainRates(Part):
    """Rates without intervals, and why any of them is null."""

    balanced_accuracy: Share | None
    """Mean of sensitivity and specificity. Without an interval; null where undefined."""
    accuracy: Share | None
    """Share of all patients who are called correctly. Without an interval; null where undefined."""
    sensitivity: Share | None
    """Share of the patients with the positive label who are called positive. Without an interval;
    null where undefined."""
    specificity: Share | None
    """Share of the patients with the negative label who are called negative. Without an interval;
    null where undefined."""
    ppv: Share | None
    """Positive predictive value: share of the patients called positive who have the positive
    label. Holds at this cohort's share of positive patients only. Without an interval; null where
    undefined."""
    npv: Share | None
    """Negative predictive value: share of the patients called negative who have the negative
    label. Holds at this cohort's share of positive patients only. Without an interval; null where
    undefined."""
    reasons: (
        dict[Annotated[str, Field(description="Name of the figure that is null.")], str] | None
    ) = Field(default=None, exclude_if=absent)
    """Why figures of this row are null, by the figure's name; absent where none is."""


class RepeatRow(_PlainRates):
    """Figures of one repetition of the cross-validation."""

    repeat: Count
    """Number of the repetition of the cross-validation, from 0."""
    n_patients: Count
    """Patients evaluated."""
    auc: Share
    """Area under the ROC curve."""
    average_precision: Share
    """Area under the curve of precision against recall."""
    brier: Share
    """Brier score."""
    calibration_intercept: float | None
    """Calibration in the large, in log-odds; 0 is right; null where undefined."""
    calibration_slope: float | None
    """Calibration slope; 1 is right; null where undefined."""


class FoldRow(_PlainRates):
    """Figures of one fold of one repetition."""

    repeat: Count
    """Number of the repetition of the cross-validation, from 0."""
    fold: Count
    """Number of the outer fold that held the patients out, from 0."""
    n_patients: Count
    """Patients that the fold held out."""
    n_positive: Count
    """Of these, patients with the positive label."""
    threshold: float
    """Score from which this fold's head calls a patient positive."""
    auc: Share | None
    """Area under the ROC curve; null where the fold holds one label only."""


class HeadSettings(Part):
    """Kind and settings of the head, as in the configuration."""

    model_config = ConfigDict(**{**RESULT, "extra": "allow"})
    __pydantic_extra__: dict[str, JsonValue]

    kind: str
    """Kind of the head."""


class ChosenProcedure(Part):
    """What makes a head, and joins what it says of slices."""

    pooling: Literal["max", "average", "flatten"]
    """How the trunk's maps become features."""
    head: HeadSettings
    aggregation: Literal["mean_probability", "mean_logit", "majority", "attention"]
    """How slices are joined into a score of the patient."""


class Trial(Part):
    """A procedure that was tried."""

    procedure: ChosenProcedure
    """The procedure tried."""
    inner_auc: tuple[Share, ...]
    """Area under the ROC curve in each inner fold of the training patients."""
    configured: bool
    """Whether this is the procedure that the configuration names."""
    chosen: bool
    """Whether this procedure was chosen."""


class RecalibrationMap(Part):
    """The map from the head's scores to probabilities."""

    method: Literal["none", "platt", "isotonic", "beta"]
    """Kind of map; none leaves scores as they are."""
    parameters: dict[Annotated[str, Field(description="Name of the parameter.")], tuple[float, ...]]
    """Numbers of the map, on the logit of the score (Platt), on its logarithms (beta) or as points
    (isotonic)."""


_Aim = Annotated[str, Field(description="The aim, such as sensitivity 0.9.")]


class Choice(Part):
    """What one outer fold chose, on its training patients alone."""

    repeat: Count
    """Number of the repetition of the cross-validation, from 0."""
    fold: Count
    """Number of the outer fold that held the patients out, from 0."""
    procedure: ChosenProcedure
    """What the fold's head was made by: the procedure chosen."""
    trials: tuple[Trial, ...]
    """Every procedure that was tried, in the order of trying."""
    recalibration: RecalibrationMap
    recalibration_log_loss: dict[Annotated[str, Field(description="Kind of map.")], _NonNegative]
    """Log loss of each kind of map on inner folds; the least is chosen. Empty where nothing was
    compared."""
    threshold: float
    """Score from which a patient is called positive."""
    threshold_from: str
    """What the threshold was set on."""
    target_thresholds: dict[_Aim, float]
    """Threshold set on training patients for each aim."""
