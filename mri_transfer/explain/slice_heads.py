"""Fitted heads once more, as functions that can be differentiated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.errors import HeadError
from mri_transfer.models.heads.linear import zone_of_slices
from mri_transfer.training.fitted_model import FittedModel

__all__ = ["POOL", "SliceHead", "feature_gradients"]

FloatArray = npt.NDArray[np.float32]

#: Feature maps (n, channels, rows, columns) to features (n, n_features), by pooling.
POOL = {
    "max": lambda maps: maps.amax((2, 3)),
    "average": lambda maps: maps.mean((2, 3)),
    "flatten": lambda maps: maps.flatten(1),
}


class SliceHead(torch.nn.Module):
    """The log-odds that a trained fold gives to slices of one patient.

    Harmonisation, where there is one, is part of it: for a given patient it multiplies every
    feature by a number and adds another. Computed in double precision.

    Parameters
    ----------
    one : FittedModel
    owner : str
        The patient.
    n_slices : int
        Slices of a whole scan; the linear head's zones depend on it.
    n_features : int

    Raises
    ------
    HeadError
        If the head is of an unknown kind.
    """

    def __init__(self, one: FittedModel, owner: str, *, n_slices: int, n_features: int) -> None:
        super().__init__()
        kinds = {"linear": self._linear, "published": self._published, "attention": self._attention}
        if one.head.kind not in kinds:
            raise HeadError("unknown kind of head", found=one.head.kind, expected=", ".join(kinds))
        self._logits = kinds[one.head.kind]
        self._tensors = _doubles(one.head.tensors)
        self._zone = torch.from_numpy(
            zone_of_slices(n_slices, len(one.head.tensors["weight"]))
            if one.head.kind == "linear"
            else np.zeros(n_slices, dtype=np.int64)
        )
        self._scale, self._shift = _harmonised(one, owner, n_features)

    def forward(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """Return log-odds.

        Parameters
        ----------
        features : Tensor, shape (n, n_features)
        slices : Tensor of int64, shape (n,)
            Which slice of the scan each row is, from the lowest up.

        Returns
        -------
        Tensor of float64, shape (n,)
        """
        return self._logits(features.double() * self._scale + self._shift, slices)

    def _linear(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        weight = self._tensors["weight"][self._zone[slices]]
        return (features * weight).sum(1) + self._tensors["bias"][slices]

    def _published(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        del slices
        t = self._tensors
        hidden = torch.relu(features @ t["kernel"].t() + t["bias"])
        return hidden @ t["last"] + t["last_bias"]

    def _attention(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        del slices
        t = self._tensors
        return ((features - t["mean"]) / t["deviation"]) @ t["weight"] + t["bias"]


def _doubles(tensors: Mapping[str, FloatArray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values.astype(np.float64)) for name, values in tensors.items()}


def _harmonised(one: FittedModel, owner: str, n_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what harmonisation multiplies a patient's features by, and what it adds."""
    if one.harmoniser is None:
        return torch.ones(n_features).double(), torch.zeros(n_features).double()
    ends = np.stack([np.zeros(n_features), np.ones(n_features)])[None]
    covariates = one.harmoniser.covariates.loc[[owner]]
    at_zero, at_one = np.asarray(one.harmoniser.combat.apply(ends, covariates))[0]
    return torch.from_numpy(at_one - at_zero), torch.from_numpy(at_zero)


def feature_gradients(head: SliceHead, features: FloatArray) -> npt.NDArray[np.float64]:
    """Differentiate each slice's log-odds by the slice's features.

    Parameters
    ----------
    head : SliceHead
    features : ndarray of float32, shape (n_slices, n_features)
        Of a whole scan.

    Returns
    -------
    ndarray of float64, shape (n_slices, n_features)
    """
    given = torch.from_numpy(features).double().requires_grad_()
    # A slice's log-odds depend on its own features alone, so that their sum's gradient is theirs.
    total = head(given, torch.arange(len(features))).sum()
    (gradient,) = torch.autograd.grad(total, given)
    found: npt.NDArray[np.float64] = gradient.numpy()
    return found
