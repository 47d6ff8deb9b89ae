"""ScanNetwork: trunk, head, joining and recalibration as one torch module, for export.

It repeats in float32 tensors what `Trunk`, `apply_head`, `join_slices` and `Recalibration` do;
tests hold it against them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mri_transfer.bundle.parts import BundleParts
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.heads.linear import zone_of_slices
from mri_transfer.models.recalibration import Recalibration
from mri_transfer.models.recalibration.maps import CLIP, PARAMETERS
from mri_transfer.models.trunks.trunk import IMAGENET_MEAN_RGB

__all__ = ["ScanNetwork", "scan_network"]


class ScanNetwork(torch.nn.Module):
    """From the slices of scans to their scores, in float32 on the processor.

    Parameters
    ----------
    bundle : BundleParts
        Without harmonisation.

    Raises
    ------
    ConfigurationError
        If its heads harmonise sites, which a network of pixels alone cannot.
    """

    rgb_mean: torch.Tensor

    def __init__(self, bundle: BundleParts) -> None:
        super().__init__()
        if bundle.trained.harmoniser is not None:
            raise ConfigurationError(
                "heads that harmonise sites cannot be exported",
                remedy="Use the bundle itself: the scan's site has to be known",
            )
        self.trunk = copy.deepcopy(bundle.trunk.network).float().cpu()
        self.input_scaling = bundle.recipe.trunk.input_scaling
        self.pooling = bundle.procedure.pooling
        self.joining = bundle.procedure.joining
        self.kind = bundle.trained.head.kind
        self.recalibration = bundle.trained.recalibration
        self.register_buffer("rgb_mean", torch.tensor(IMAGENET_MEAN_RGB).view(1, 3, 1, 1))
        for name, values in bundle.trained.head.tensors.items():
            self.register_buffer(f"head_{name}", torch.from_numpy(np.array(values)))
        if self.kind == "linear":
            zones = zone_of_slices(
                bundle.recipe.slices.n_slices, len(bundle.trained.head.tensors["weight"])
            )
            self.register_buffer("zone", torch.from_numpy(zones))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Score scans.

        Parameters
        ----------
        pixels : Tensor of uint8, shape (n_scans, n_slices, size_px, size_px)

        Returns
        -------
        score : Tensor of float32, shape (n_scans,)
            Recalibrated probability of the positive label.
        slice_score : Tensor of float32, shape (n_scans, n_slices)
            The head's own probability of each slice.
        """
        grey = pixels.flatten(0, 1).float()[:, None]
        if self.input_scaling == "imagenet_mean":
            scaled = grey - self.rgb_mean
        else:
            scaled = (grey / 255).expand(-1, 3, -1, -1)
        maps = self.trunk(scaled)
        if self.pooling == "flatten":
            pooled = maps.flatten(1)
        else:
            pooled = maps.amax((2, 3)) if self.pooling == "max" else maps.mean((2, 3))
        features = pooled.unflatten(0, (-1, pixels.shape[1]))
        logits, weights = self._head(features)
        score = _recalibrate(self._join(logits, weights), self.recalibration)
        return score, torch.sigmoid(logits)

    def _head(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-odds and weights of slices, both (n_scans, n_slices)."""
        h: Mapping[str, Any] = {
            name.removeprefix("head_"): values for name, values in self.named_buffers()
        }
        even = torch.full_like(features[..., 0], 1.0 / features.shape[1])
        if self.kind == "linear":
            return (features * h["weight"][h["zone"]]).sum(-1) + h["bias"], even
        if self.kind == "published":
            hidden = torch.relu(features @ h["kernel"].T + h["bias"])
            return hidden @ h["last"] + h["last_bias"], even
        scaled = (features - h["mean"]) / h["deviation"]
        value = torch.tanh(scaled @ h["value"].T + h["value_bias"])
        gate = torch.sigmoid(scaled @ h["gate"].T + h["gate_bias"])
        attention = torch.softmax((value * gate) @ h["attention"][0], dim=1)
        return scaled @ h["weight"] + h["bias"], attention

    def _join(self, logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        if self.joining == "mean_probability":
            return torch.sigmoid(logits).mean(1)
        if self.joining == "majority":
            return (logits > 0).float().mean(1)
        if self.joining == "mean_logit":
            return torch.sigmoid(logits.mean(1))
        return torch.sigmoid((logits * weights).sum(1))


def scan_network(bundle: BundleParts) -> ScanNetwork:
    """Return a bundle's network, in evaluation mode."""
    return ScanNetwork(bundle).eval()


def _recalibrate(scores: torch.Tensor, recalibration: Recalibration) -> torch.Tensor:
    method, parameters = recalibration.method, recalibration.parameters
    if method == "none":
        return scores
    if method == "isotonic":
        knots, levels = parameters["scores"], parameters["values"]
        mapped = torch.full_like(scores, levels[0])
        for i in range(len(knots) - 1):
            width = knots[i + 1] - knots[i]
            slope = (levels[i + 1] - levels[i]) / width
            mapped = mapped + slope * torch.clamp(scores - knots[i], 0.0, width)
        return mapped
    clipped = torch.clamp(scores, CLIP, 1.0 - CLIP)
    rising, falling = torch.log(clipped), -torch.log1p(-clipped)
    terms = [rising + falling] if method == "platt" else [rising, falling]
    *slopes, intercept = (parameters[name][0] for name in PARAMETERS[method])
    odds = sum((s * t for s, t in zip(slopes, terms, strict=True)), torch.zeros_like(scores))
    return torch.clamp(torch.sigmoid(odds + intercept), CLIP, 1.0 - CLIP)
