"""The weights of a trunk as they were read, whichever source gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mri_transfer.models.trunks.seen import SeenScans

__all__ = ["TrunkWeights", "WeightsSource"]

WeightsSource = Literal["path", "cache", "wheel", "hub", "random"]


@dataclass(frozen=True, kw_only=True)
class TrunkWeights:
    """All tensors of a trunk, and where they came from.

    Attributes
    ----------
    tensors : mapping of str to ndarray of float32
        Under names that the trunk's entry knows.
    digest : str
        SHA-256 of all numbers, moments of normalisation among them, in the network's order.
    source : str
        Which of the sources gave them.
    location : str
        File or name they were read from; never part of a key.
    seen : SeenScans, optional
        The scans that they were trained on, of weights that were made here.
    """

    tensors: Mapping[str, npt.NDArray[np.float32]]
    digest: str
    source: WeightsSource
    location: str
    seen: SeenScans | None = None
