"""The part of `audit.json` that is about growing numbers of training patients."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.documents import OptionalText, Part, Share
from mri_transfer.metrics.estimates import Difference, Proportion
from mri_transfer.metrics.intervals import ESTIMATE, Estimate

__all__ = [
    "Draws",
    "Extrapolation",
    "FeatureCurve",
    "LearningCurve",
    "LearningPoint",
    "SizeLeftOut",
    "TransferPoint",
]

_Positive = Annotated[float, Field(gt=0)]
_Features = Annotated[str, Field(description="Name of the table of features.")]


class Draws(Part):
    """How much the area varies between single cross-validations."""

    n: Annotated[int, Field(ge=1)]
    """Cross-validations: repeats times draws."""
    sd: Annotated[float, Field(ge=0)] | None
    """Standard deviation of the area over them; null for a single one."""
    lowest: Share
    """Lowest area of one of them."""
    highest: Share
    """Highest area of one of them."""
    reason: OptionalText = None
    """Why there is no standard deviation; absent where there is one."""


class LearningPoint(Part):
    """How well heads of one number of training patients rank."""

    size: Annotated[int, Field(ge=1)] | None
    """Training patients of a fold that were asked for; null: all of them."""
    n_train: _Positive
    """Training patients of a fold, mean over folds."""
    auc: Proportion
    """Area under the ROC curve of the held-out patients, folds pooled, mean over repeats and
    draws."""
    auc_within_folds: Share
    """The same over pairs of patients that one head scored."""
    draws: Draws


@dataclass(frozen=True, kw_only=True, config=ESTIMATE)
class Extrapolation(Estimate):
    """The AUC to expect with more training patients.

    By an inverse power law a - b (n / 100)^-c through the curve. The interval holds the sampling
    of patients, not the doubt whether the law holds.
    """

    at: _Positive
    """Training patients of a fold that the value is for."""
    a: float | None
    """Plateau of the law: AUC with endless training patients; null where nothing was fitted."""
    b: float | None
    """How far below the plateau the law lies with 100 training patients; null where nothing was
    fitted."""
    c: float | None
    """How fast the law rises; null where nothing was fitted."""


class FeatureCurve(Part):
    """The curve of one table of features."""

    curve: tuple[LearningPoint, ...]
    """One entry a number of training patients."""
    extrapolation: Extrapolation


class TransferPoint(Part):
    """By how much the model's features rank better with one number of training patients."""

    size: Annotated[int, Field(ge=1)] | None
    """Training patients of a fold that were asked for; null: all of them."""
    n_train: _Positive
    """Training patients of a fold, mean over folds."""
    auc_difference: Difference
    """Area of the model's own features minus that of the control, paired."""


class SizeLeftOut(Part):
    """A number of training patients that could not be tried."""

    size: Annotated[int, Field(ge=1)]
    """Training patients asked for."""
    reason: Annotated[str, Field(min_length=1)]
    """Why it was left out."""


class LearningCurve(Part):
    """How well heads rank held-out patients, by the number of patients they were trained on."""

    head: str
    """Kind of the head."""
    n_patients: Annotated[int, Field(ge=2)]
    """Patients of the cohort."""
    n_draws: Annotated[int, Field(ge=1)]
    """Draws of training patients for each size."""
    tables: dict[_Features, FeatureCurve]
    """One curve for each table of features: the model's own, and controls such as a trunk with
    random weights."""
    transfer: dict[
        Annotated[str, Field(description="Name of the control's table of features.")],
        tuple[TransferPoint, ...],
    ]
    """By how much the model's own features rank better than each control, by the number of
    training patients."""
    sizes_left_out: tuple[SizeLeftOut, ...]
    """Numbers of training patients that could not be tried."""
