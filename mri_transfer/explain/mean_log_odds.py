"""What the heads that had not seen a patient say of a slice's pixels, on average."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.explain.attribution import spread
from mri_transfer.explain.fold_model import feature_gradients, fold_model
from mri_transfer.scans.slices import SliceStack
from mri_transfer.training.fitted_model import FittedModel

if TYPE_CHECKING:
    from mri_transfer.models.tails.tuned_trunk import TunedTrunk
    from mri_transfer.models.trunks import Trunk, TrunkNetwork

__all__ = ["MeanLogOdds", "PixelTrunks", "input_network", "mean_grey"]

FloatArray = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PixelTrunks:
    """A trunk in the three ways that pixel attribution needs it.

    Attributes
    ----------
    trunk : Trunk or TunedTrunk
        As the run computes; occlusion passes through it.
    differentiable : TrunkNetwork
        The same in single precision, as a differentiable function of pixels.
    random : Trunk
        The same with random weights.
    """

    trunk: Trunk | TunedTrunk
    differentiable: TrunkNetwork
    random: Trunk

    @classmethod
    def of(cls, trunk: Trunk | TunedTrunk, random: Trunk) -> Self:
        """Return the ways of a trunk, given the one with random weights."""
        return cls(trunk=trunk, differentiable=input_network(trunk), random=random)


def input_network(trunk: Trunk | TunedTrunk) -> TrunkNetwork:
    """Return the trunk in single precision, as a differentiable function of pixels.

    Parameters
    ----------
    trunk : Trunk or TunedTrunk
        Its network is copied; steps that overwrite what a gradient needs are undone in the copy.
    """
    network = copy.deepcopy(trunk.network).float().to(trunk.device)
    for module in network.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 - no attribute of a plain Module
    return network


class MeanLogOdds:
    """A slice's part in the log-odds, mean over the heads of all repeats.

    Attributes
    ----------
    trunks : list of PixelTrunks
        Each once; the first is that of the first head.
    """

    def __init__(
        self,
        own: Sequence[FittedModel],
        trunks: Sequence[PixelTrunks],
        patient_id: str,
        weights: FloatArray,
    ) -> None:
        self._models = [fold_model(model, patient_id) for model in own]
        self._weights = torch.from_numpy(weights.astype(np.float64))
        by_id = {id(one): one for one in trunks}
        self.trunks = list(by_id.values())
        self._trunk_of = [list(by_id).index(id(one)) for one in trunks]

    def __call__(self, maps: Sequence[torch.Tensor], s: int) -> torch.Tensor:
        """Return the log-odds of maps of slice `s`, shape (n,).

        Parameters
        ----------
        maps : sequence of Tensor, shape (n, channels, rows, columns)
            By each of `trunks`.
        s : int
        """
        maps = [one.float().cpu() for one in maps]
        at = torch.full((len(maps[0]),), s)
        parts = [
            model.slice_logits(model.pooling(maps[t]).double(), at) * self._weights[i, s]
            for i, (model, t) in enumerate(zip(self._models, self._trunk_of, strict=True))
        ]
        return torch.stack(parts).mean(0)

    def gradcam(self, maps: torch.Tensor, slices: npt.NDArray[np.int64]) -> FloatArray:
        """Return Grad-CAM of slices by the first head, (n, rows, columns)."""
        model = self._models[0]
        features = model.pooling(maps).contiguous().numpy()
        weights = self._weights[0, slices, None].numpy()
        gradients = (feature_gradients(model, features, slices) * weights).astype(np.float32)
        return np.asarray(spread(maps, gradients[None], model.pooling.method, averaged=True)[0])


def mean_grey(stack: SliceStack) -> float:
    """Return the mean grey of the scan's head, 0..255, whole."""
    inside = stack.pixels[stack.pixels > 0]
    return float(np.rint(inside.mean())) if inside.size else 0.0
