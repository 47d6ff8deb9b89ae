"""PatientModel: the whole model as one module, from pictures of slices to a patient's score.

Its parts are modules of their own, and whatever uses the model runs them: features are what
`trunk` and `pooling` make of a scan, evaluation applies `head`, `aggregation` and
`recalibration`, explanation differentiates, and export writes the whole as one graph.
"""

from __future__ import annotations

from typing import Self

import torch

from mri_transfer.models.aggregation import JoinSlices
from mri_transfer.models.heads import Head, HeadModule, head_module
from mri_transfer.models.heads.entry import Aggregation
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.models.recalibration import Recalibration, RecalibrationMap
from mri_transfer.models.trunks import TrunkNetwork

__all__ = ["FeatureShift", "PatientModel"]


class FeatureShift(torch.nn.Module):
    """What harmonisation does to the features of one given patient: a factor and an offset each.

    Parameters
    ----------
    scale, shift : Tensor of float64, shape (n_features,)
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return harmonised features, of the same shape."""
        return features * self.scale + self.shift


class PatientModel(torch.nn.Module):
    """Slices of scans to scores of patients.

    Parameters
    ----------
    head : HeadModule
    pooling : str
        A name of `POOLINGS`.
    aggregation : Aggregation
    recalibration : Recalibration
    trunk : TrunkNetwork, optional
        Without one the model begins with maps or features.
    harmonisation : FeatureShift, optional
        Of the patient whose scans are given.
    """

    def __init__(
        self,
        head: HeadModule,
        *,
        pooling: str,
        aggregation: Aggregation,
        recalibration: Recalibration,
        trunk: TrunkNetwork | None = None,
        harmonisation: FeatureShift | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooling = PoolMaps(pooling)
        self.harmonisation = torch.nn.Identity() if harmonisation is None else harmonisation
        self.head = head
        self.aggregation = JoinSlices(aggregation)
        self.recalibration = RecalibrationMap(recalibration)

    @classmethod
    def of_head(
        cls,
        head: Head,
        *,
        trunk: TrunkNetwork | None = None,
        harmonisation: FeatureShift | None = None,
    ) -> Self:
        """Return the model of a head that was fitted in training, which knows how it is used.

        Parameters
        ----------
        head : Head
            With the facts that training wrote: procedure and recalibration.
        trunk, harmonisation
            As in `PatientModel`.
        """
        procedure = head.facts["procedure"]
        return cls(
            head_module(head),
            pooling=procedure["pooling"],
            aggregation=procedure["aggregation"],
            recalibration=Recalibration.from_dict(head.facts["recalibration"]),
            trunk=trunk,
            harmonisation=harmonisation,
        )

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Score scans, each of a patient of its own.

        Parameters
        ----------
        pixels : Tensor, shape (n_scans, n_slices, height, width)
            Grey values 0..255.

        Returns
        -------
        score : Tensor, shape (n_scans,)
            Recalibrated probability of the positive label.
        slice_score : Tensor, shape (n_scans, n_slices)
            The head's own probability of each slice.
        """
        if self.trunk is None:
            raise ValueError("this model has no trunk: it begins with features")
        features = self.pooling(self.trunk(pixels.flatten(0, 1)))
        precise = next(self.head.parameters()).dtype
        per_scan = features.to(precise).unflatten(0, (-1, pixels.shape[1]))
        logits, weights = self.slices(per_scan)
        return self.scores(logits, weights), torch.sigmoid(logits)

    def slices(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-odds and weights of slices, both (n_scans, n_slices).

        Parameters
        ----------
        features : Tensor, shape (n_scans, n_slices, n_features)
        """
        found: tuple[torch.Tensor, torch.Tensor] = self.head(self.harmonisation(features))
        return found

    def slice_logits(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of slices, whichever of a scan they are, shape (n,).

        Parameters
        ----------
        features : Tensor, shape (n, n_features)
        slices : Tensor of int64, shape (n,)
        """
        return self.head.slice_logits(self.harmonisation(features), slices)

    def scores(
        self, logits: torch.Tensor, weights: torch.Tensor, patients: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return recalibrated scores of patients; parameters as those of `JoinSlices.forward`."""
        found: torch.Tensor = self.recalibration(self.aggregation(logits, weights, patients))
        return found
