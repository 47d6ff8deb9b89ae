"""Settings of folds, and of what becomes of slice scores."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.models.recalibration import RecalibrationMethod

__all__ = ["FoldSpec", "InstancesSpec", "PredictionSpec", "parse_target"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FoldSpec:
    """How patients are split."""

    n_folds: int = Field(default=5, ge=2)
    """Outer folds per repeat."""
    n_repeats: int = Field(default=3, ge=1)
    """How often the outer split is drawn anew."""
    n_inner_folds: int = Field(default=5, ge=2)
    """Folds inside training patients, for whatever is chosen there."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InstancesSpec:
    """Patients of another cohort that every fit learns from, and none is tested on."""

    manifest: str = ""
    """Manifest of the source cohort; empty: none. Its patients are part of every training set, and
    never of a test set, an inner score, a threshold or a figure."""
    weight: float = Field(default=0.5, gt=0)
    """Of each of its patients in the loss of a head; a patient of the cohort counts 1."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredictionSpec:
    """How slices become a patient's score, and the score a decision."""

    aggregation: Literal["auto", "mean_probability", "mean_logit", "majority", "attention"] = "auto"
    """`auto`: the one the head was built for (linear: mean log-odds; mlp: mean probability;
    attention: the head's own weights)."""
    threshold: Literal["inner"] | float = Field(default="inner")
    """`inner`: Youden's index on inner scores of training patients; or a fixed score."""
    recalibration: tuple[RecalibrationMethod, ...] = Field(
        default=("none", "platt", "beta", "isotonic"), min_length=1
    )
    """What may turn scores into probabilities; of several the one with the lowest log loss on
    inner scores of the training patients. `none` alone leaves scores as the head gives them."""
    targets: tuple[str, ...] = ("sensitivity 0.9", "specificity 0.9")
    """Operating points to report beside the threshold, each set on inner scores."""

    @model_validator(mode="after")
    def _check(self) -> PredictionSpec:
        for name in self.targets:
            parse_target(name)
        if isinstance(self.threshold, float) and not 0 <= self.threshold <= 1:
            raise ValueError("a fixed threshold is a score and lies between 0 and 1")
        return self

    @property
    def needs_inner_scores(self) -> bool:
        """Whether anything is fitted on inner scores."""
        return self.threshold == "inner" or self.recalibration != ("none",)


def parse_target(name: str) -> tuple[Literal["sensitivity", "specificity"], float]:
    """Split the name of an operating point, such as ``sensitivity 0.9``.

    Raises
    ------
    ValueError
        If it is not `sensitivity` or `specificity` and a number between 0 and 1.
    """
    found = re.fullmatch(r"(sensitivity|specificity) (0\.\d+)", name)
    if found is None or not 0 < float(found[2]) < 1:
        raise ValueError(f"a target reads 'sensitivity 0.9' or 'specificity 0.9', not {name!r}")
    return ("sensitivity" if found[1] == "sensitivity" else "specificity"), float(found[2])
