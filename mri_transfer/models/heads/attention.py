"""Gated-attention pooling over a scan's slices (Ilse, Tomczak and Welling 2018), one label a bag.

The head weighs the slices of a scan by a small gated network and classifies the weighted sum.
The classifier is linear, so the scan's log-odds are the weighted sum of its slices' log-odds:
every slice has a score and a weight of its own. Training is by full batches with AdamW; how many
epochs is chosen inside training patients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads.head import Fit, Head, SliceOutput, standardise, training_moments

if TYPE_CHECKING:
    import torch

__all__ = ["AttentionHeadSpec", "apply_attention", "fit_attention"]

FloatArray = npt.NDArray[np.float32]


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


def fit_attention(
    spec: AttentionHeadSpec,
    table: FeatureTable,
    labels: npt.NDArray[np.int64],
    fits: Sequence[Fit],
) -> Iterator[tuple[int, Head]]:
    """Fit one head for each request.

    Yields
    ------
    fit : int
        Position in `fits`.
    head : Head
    """
    # One by one: products over several fits would round differently with every set of them, and a
    # fold fitted again could not be compared with the first by its bytes.
    for i, fit in enumerate(fits):
        network = _Network(spec, table, labels, [fit])
        for _ in range(spec.epochs):
            network.step()
        for head in network.heads():
            yield i, head


class _Network:
    """Several attention heads that share one pass over the features."""

    def __init__(
        self,
        spec: AttentionHeadSpec,
        table: FeatureTable,
        labels: npt.NDArray[np.int64],
        fits: Sequence[Fit],
    ) -> None:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.shape = table.features.shape
        n_fits, n_features = len(fits), self.shape[2]
        moments = [training_moments(table.features, fit.train) for fit in fits]
        self.mean = np.stack([mean for mean, _ in moments])
        self.deviation = np.stack([deviation for _, deviation in moments])
        self._mean = torch.from_numpy(self.mean).to(device)
        self._deviation = torch.from_numpy(self.deviation).to(device)
        self.rows = torch.from_numpy(table.features.reshape(-1, n_features)).to(device)
        self.train = torch.from_numpy(np.stack([fit.train for fit in fits])).to(device)
        self.target = torch.from_numpy(labels.astype(np.float32)).to(device)
        weights = [_scan_weights(table, labels, fit, balanced=spec.balanced) for fit in fits]
        self.weight = torch.from_numpy(np.stack(weights)).to(device)
        rngs = [np.random.default_rng(fit.seed) for fit in fits]

        def draw(width: int, fan_in: int) -> torch.Tensor:
            scale = 1 / np.sqrt(fan_in)
            values = np.stack([rng.uniform(-scale, scale, (width, fan_in)) for rng in rngs])
            return torch.from_numpy(values.astype(np.float32)).to(device).requires_grad_()

        def zeros(width: int) -> torch.Tensor:
            return torch.zeros(n_fits, width, device=device, requires_grad=True)

        # The classifier begins at zero: without evidence a head says nothing.
        self.parameters = {
            "value": draw(spec.hidden, n_features),
            "value_bias": zeros(spec.hidden),
            "gate": draw(spec.hidden, n_features),
            "gate_bias": zeros(spec.hidden),
            "attention": draw(1, spec.hidden),
            "weight": zeros(n_features),
            "bias": zeros(1),
        }
        self.optimiser = torch.optim.AdamW(
            list(self.parameters.values()), lr=spec.learning_rate, weight_decay=spec.weight_decay
        )

    def step(self) -> None:
        """One full-batch step of every fit; their losses add up, so they stay independent."""
        import torch

        self.optimiser.zero_grad()
        logits = self._scan_logits()
        target = self.target.expand_as(logits)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target, weight=self.weight, reduction="sum"
        )
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def _scan_logits(self) -> torch.Tensor:
        """Log-odds of every scan from its training slices, shape (n_fits, n_scans)."""
        import torch

        p = self.parameters
        n_scans, n_slices, _ = self.shape
        kernels = torch.cat([p["value"], p["gate"], p["weight"][:, None]], 1)
        biases = torch.cat([p["value_bias"], p["gate_bias"], p["bias"]], 1)
        # Standardising the shared features fit by fit would copy them; the kernels take it over.
        scaled = kernels / self._deviation[:, None]
        shifted = biases - (scaled * self._mean[:, None]).sum(2)
        # One product a fit: a joint one would round differently with every set of fits.
        maps = torch.stack(
            [
                torch.addmm(shift, self.rows, kernel.t()).view(n_scans, n_slices, -1)
                for shift, kernel in zip(shifted, scaled, strict=True)
            ]
        )
        hidden = p["value"].shape[1]
        gated = torch.tanh(maps[..., :hidden]) * torch.sigmoid(maps[..., hidden:-1])
        attention = torch.einsum("fnsh,fh->fns", gated, p["attention"][:, 0])
        # Scans without a training slice keep a finite softmax; their loss weighs nothing.
        attention = attention.masked_fill(~self.train, -1e9)
        return (attention.softmax(2) * maps[..., -1]).sum(2)

    def heads(self) -> Iterator[Head]:
        """Return the heads as they are now."""
        arrays = {name: p.detach().cpu().numpy() for name, p in self.parameters.items()}
        for i in range(len(self.mean)):
            tensors = {name: values[i].copy() for name, values in arrays.items()}
            tensors["mean"] = self.mean[i].copy()
            tensors["deviation"] = self.deviation[i].copy()
            yield Head(kind="attention", tensors=tensors)


def apply_attention(tensors: Mapping[str, FloatArray], features: FloatArray) -> SliceOutput:
    """Score and weigh slices.

    Parameters
    ----------
    tensors : mapping
        An attention head's parameters.
    features : ndarray of float32, shape (n_scans, n_slices, n_features)
    """
    from scipy.special import expit, softmax

    scaled = standardise(features, tensors)
    value = np.tanh(scaled @ tensors["value"].T + tensors["value_bias"])
    gate = expit(scaled @ tensors["gate"].T + tensors["gate_bias"])
    weights = softmax((value * gate) @ tensors["attention"][0], axis=1)
    logits = scaled @ tensors["weight"] + tensors["bias"]
    return SliceOutput(logits=logits.astype(np.float32), weights=weights.astype(np.float32))


def _scan_weights(
    table: FeatureTable, labels: npt.NDArray[np.int64], fit: Fit, *, balanced: bool
) -> FloatArray:
    """Weigh scans so that patients count the same, and labels too if `balanced`; sums to 1."""
    used = fit.train.any(axis=1)
    owners = np.array(table.patient_ids, dtype=object)
    weights = np.zeros(len(owners))
    for name in dict.fromkeys(table.patient_ids):
        scans = used & (owners == name)
        weights[scans] = 1 / max(1, scans.sum())
    if balanced:
        for label in (0, 1):
            members = labels == label
            weights[members] /= max(weights[members].sum(), 1e-12)
    normalised: FloatArray = (weights / weights.sum()).astype(np.float32)
    return normalised
