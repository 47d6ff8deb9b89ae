"""Gated-attention pooling over a scan's slices (Ilse, Tomczak and Welling 2018), one label a bag.

The head weighs the slices of a scan by a small gated network and classifies the weighted sum.
The classifier is linear, so the scan's log-odds are the weighted sum of its slices' log-odds:
every slice has a score and a weight of its own. Training is by full batches with AdamW; how many
epochs is chosen inside training patients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads.head import Head, training_moments
from mri_transfer.models.heads.module import HeadModule
from mri_transfer.models.heads.settings import AttentionHeadSpec

__all__ = ["AttentionModule", "fit_attention"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class AttentionModule(HeadModule):
    """Standardised features; a gated network weighs slices, a linear one scores them."""

    shapes: ClassVar = {
        "value": ("hidden", "features"),
        "value_bias": ("hidden",),
        "gate": ("hidden", "features"),
        "gate_bias": ("hidden",),
        "attention": ("one", "hidden"),
        "weight": ("features",),
        "bias": ("one",),
        "mean": ("features",),
        "deviation": ("features",),
    }
    moments: ClassVar = ("mean", "deviation")
    value: torch.Tensor
    value_bias: torch.Tensor
    gate: torch.Tensor
    gate_bias: torch.Tensor
    attention: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor

    def slice_logits(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """Return log-odds; see `HeadModule`."""
        return self._scored(self.standardised(features))

    def slice_weights(self, features: torch.Tensor) -> torch.Tensor:
        """Return weights; see `HeadModule`."""
        return torch.softmax(self._attention(self.standardised(features)), dim=1)

    def standardised(self, features: torch.Tensor) -> torch.Tensor:
        """Return features centred and divided by the training slices' deviation."""
        return (features - self.mean) / self.deviation

    def scan_logits(self, scaled: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of scans from some of their slices.

        Parameters
        ----------
        scaled : Tensor, shape (n_scans, n_slices, n_features)
            Standardised.
        used : Tensor of bool, shape (n_scans, n_slices)
        """
        weights = self._attention(scaled).masked_fill(~used, -torch.inf).softmax(1)
        return (weights * self._scored(scaled)).sum(1)

    def _scored(self, scaled: torch.Tensor) -> torch.Tensor:
        return scaled @ self.weight + self.bias

    def _attention(self, scaled: torch.Tensor) -> torch.Tensor:
        value = torch.tanh(torch.nn.functional.linear(scaled, self.value, self.value_bias))
        gate = torch.sigmoid(torch.nn.functional.linear(scaled, self.gate, self.gate_bias))
        return (value * gate) @ self.attention[0]


def fit_attention(
    spec: AttentionHeadSpec,
    table: FeatureTable,
    labels: npt.NDArray[np.int64],
    slices: BoolArray,
    *,
    weights: npt.NDArray[np.float64] | None,
    seed: int,
    device: str,
) -> Head:
    """Fit by full batches with AdamW."""
    scans = np.flatnonzero(slices.any(axis=1))
    module = _initial(spec, table.features, slices, weights, seed=seed).to(device)
    scaled = module.standardised(torch.from_numpy(table.features[scans]).to(device))
    used = torch.from_numpy(slices[scans]).to(device)
    target = torch.from_numpy(labels[scans].astype(np.float32)).to(device)
    patients = [table.patient_ids[k] for k in scans]
    own = np.ones(len(scans)) if weights is None else weights[scans]
    weight = torch.from_numpy(
        _scan_weights(patients, labels[scans], own, balanced=spec.balanced)
    ).to(device)
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay
    )
    for _ in range(spec.epochs):
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            module.scan_logits(scaled, used), target, weight=weight, reduction="sum"
        )
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return Head.of_module("attention", module)


def _initial(
    spec: AttentionHeadSpec,
    features: FloatArray,
    slices: BoolArray,
    weights: npt.NDArray[np.float64] | None,
    *,
    seed: int,
) -> AttentionModule:
    """Return the head before training: small uniform attention, a classifier of zero."""
    mean, deviation = training_moments(features, slices, weights)
    n_features = len(mean)
    rng = np.random.default_rng(seed)

    def draw(width: int, fan_in: int) -> FloatArray:
        scale = 1 / np.sqrt(fan_in)
        return rng.uniform(-scale, scale, (width, fan_in)).astype(np.float32)

    def zeros(width: int) -> FloatArray:
        return np.zeros(width, dtype=np.float32)

    # The classifier begins at zero: without evidence a head says nothing.
    return AttentionModule(
        {
            "value": draw(spec.hidden, n_features),
            "value_bias": zeros(spec.hidden),
            "gate": draw(spec.hidden, n_features),
            "gate_bias": zeros(spec.hidden),
            "attention": draw(1, spec.hidden),
            "weight": zeros(n_features),
            "bias": zeros(1),
            "mean": mean,
            "deviation": deviation,
        }
    )


def _scan_weights(
    patient_ids: Sequence[str],
    labels: npt.NDArray[np.int64],
    own: npt.NDArray[np.float64],
    *,
    balanced: bool,
) -> FloatArray:
    """Weigh scans so that patients count as told, and labels alike if `balanced`; sums to 1.

    Parameters
    ----------
    patient_ids : sequence of str, length n_scans
    labels : ndarray of {0, 1}, shape (n_scans,)
    own : ndarray of float64, shape (n_scans,)
        How much the patient counts.
    balanced : bool
    """
    counts = Counter(patient_ids)
    weights = own * np.array([1 / counts[name] for name in patient_ids])
    if balanced:
        for label in (0, 1):
            weights[labels == label] /= weights[labels == label].sum()
    normalised: FloatArray = (weights / weights.sum()).astype(np.float32)
    return normalised
