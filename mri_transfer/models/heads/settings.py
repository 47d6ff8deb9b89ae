"""Settings of each kind of head."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT

__all__ = ["AnyHeadSpec", "AttentionHeadSpec", "HeadSpec", "LinearHeadSpec", "MlpHeadSpec"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinearHeadSpec:
    """L2 logistic regression on a patient's mean features."""

    kind: Literal["linear"] = "linear"
    scaling: Literal["global", "feature"] = "global"
    """`global`: features are centred and divided by one number, the root of their summed
    variances, so that those that vary most weigh most; `feature`: each by its own deviation."""
    inverse_l2: tuple[float, ...] = Field(default=(10.0, 30.0, 100.0), min_length=1)
    """Scikit-learn's C, one or several: the head is the mean of the heads of all of them. The
    right size depends on the scaling."""
    zones: int = Field(default=2, ge=1)
    """Zones of equal height, from the lowest slice up, each with weights of its own."""
    balanced: bool = True
    """Weigh labels inversely to their frequency among the training patients."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MlpHeadSpec:
    """Dense, ReLU, dropout, dense, sigmoid (Hon and Khan 2017); RMSprop, last epoch kept."""

    kind: Literal["mlp"] = "mlp"
    hidden: int = Field(default=256, ge=1)
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=40, ge=1)
    epochs: int = Field(default=100, ge=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AttentionHeadSpec:
    """Gated-attention pooling of a scan's slices, trained on the patient's label."""

    kind: Literal["attention"] = "attention"
    hidden: int = Field(default=32, ge=1)
    """Width of the gated attention network."""
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    epochs: int = Field(default=20, ge=1)
    """Full passes; the search may choose the number inside training patients (early stopping)."""
    balanced: bool = True
    """Weigh labels inversely to their frequency among the training patients."""


AnyHeadSpec = LinearHeadSpec | MlpHeadSpec | AttentionHeadSpec
#: The same for readers of configurations: `kind` says which.
HeadSpec = Annotated[AnyHeadSpec, Field(discriminator="kind")]
