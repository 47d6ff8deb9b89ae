"""Moments of batch normalisation learned from unlabelled scans of another site (AdaBN).

The one transductive step there is (Li et al. 2018, Pattern Recognition 80:109-117): mean and
variance of each normalised channel are those of the scans that are going to be scored, and nothing
else of the trunk changes. No label is at hand here. Each scan counts the same: it passes as a
batch of its own, and the moments are the mean over the scans.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import at_most_threads, one_core_each
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.tails.adapters import moment_layers
from mri_transfer.models.tails.tuned_trunk import TunedTrunk
from mri_transfer.models.trunks import TRUNKS, FloatPrecision, Trunk, TrunkNetwork

__all__ = ["AdaptedTrunk", "adapt_moments"]

#: Slices that pass at once. It is fixed, since rounding depends on it.
_SLICES = 8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AdaptedTrunk:
    """A trunk whose moments are those of some scans; it never changes.

    Attributes
    ----------
    network : TrunkNetwork
        In single precision, in evaluation mode.
    """

    network: TrunkNetwork

    @property
    def precision(self) -> FloatPrecision:
        """What products are computed in."""
        return "fp32"

    def forward_slices(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pass slices through the trunk.

        Parameters
        ----------
        pixels : Tensor of uint8, shape (n, height, width)

        Returns
        -------
        Tensor of float32, shape (n, channels, rows, columns)
        """

        def passed(part: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                maps: torch.Tensor = self.network(part)
                return maps

        with one_core_each(torch.get_num_threads()) as pool:
            return torch.cat(list(pool.map(passed, torch.split(pixels, _SLICES))))


def adapt_moments(
    trunk: Trunk | TunedTrunk, scans: Iterable[npt.NDArray[np.uint8]]
) -> AdaptedTrunk:
    """Return a copy of a trunk with the moments of some scans.

    Parameters
    ----------
    trunk : Trunk or TunedTrunk
        In single precision, on a processor.
    scans : iterable of ndarray of uint8, shape (n_slices, height, width)
        Each is a batch.

    Raises
    ------
    ConfigurationError
        If the trunk has no batch normalisation, or there is no scan.
    """
    if next(moment_layers(trunk.network), None) is None:
        raise ConfigurationError(
            f"{TRUNKS[trunk.spec.name].title} has no batch normalisation whose moments could be "
            "adapted",
            where="--adapt-moments",
            found=f"trunk {trunk.spec.name}, to {trunk.spec.layer}",
            remedy="Leave the option out",
        )
    network = copy.deepcopy(trunk.network).float().eval()
    for layer in moment_layers(network):
        assert isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)
        layer.reset_running_stats()
        # The plain mean over all batches, instead of one that forgets.
        layer.momentum = None
        layer.train()
    n_scans = 0
    with at_most_threads(1), torch.no_grad():
        for pixels in scans:
            network(torch.from_numpy(pixels))
            n_scans += 1
    if not n_scans:
        raise ConfigurationError("there is no scan to adapt moments to", where="--adapt-moments")
    return AdaptedTrunk(network=network.eval().requires_grad_(False))
