"""Names of the ways to pool the maps of a slice; `mri_transfer.models.pooling` computes them."""

from typing import Literal

__all__ = ["Pooling"]

Pooling = Literal["max", "average", "flatten"]
