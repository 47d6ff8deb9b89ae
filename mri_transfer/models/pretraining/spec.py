"""PretrainingSpec: how an autoencoder is trained on unlabelled scans. It needs no torch."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT

__all__ = ["PretrainingSpec"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainingSpec:
    """How an autoencoder is trained."""

    epochs: int = Field(default=30, ge=1)
    """At most so many passes over all slices of the training scans."""
    batch_slices: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of AdamW; it falls to zero along a cosine."""
    weight_decay: float = Field(default=0.01, ge=0)
    masked: float = Field(default=0.5, ge=0, lt=1)
    """Share of a slice's squares that are blackened; the network restores the whole slice. 0: a
    plain autoencoder."""
    square_px: int = Field(default=16, ge=1)
    """Edge of a square."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of patients who are held out: the epoch with their lowest loss is kept."""
    seed: int = Field(default=0, ge=0)
    """Draws first weights, the patients held out, the order of slices, squares and mirrorings."""
