"""The fully connected head of Hon and Khan (2017): dense 256 ReLU, dropout, dense 1 sigmoid.

Trained slice by slice with RMSprop on binary cross-entropy, last epoch kept, as their code did
(Keras: Glorot-uniform kernels, zero biases, RMSprop with rho 0.9 and epsilon 1e-7).

Features that are zero in every training slice have no gradient, so only the others are trained.
Steps of half a millisecond are too short to be shared between threads: a fit runs on one core, and
the engine runs several fits beside each other.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import one_core_each
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads.head import Head
from mri_transfer.models.heads.module import HeadModule
from mri_transfer.models.heads.settings import MlpHeadSpec

__all__ = ["MlpModule", "fit_mlp"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_RHO = 0.9
_EPSILON = 1e-7


class MlpModule(HeadModule):
    """Dense, ReLU, dense; dropout is a matter of training alone."""

    shapes: ClassVar = {
        "kernel": ("hidden", "features"),
        "bias": ("hidden",),
        "last": ("hidden",),
        "last_bias": ("one",),
    }
    kernel: torch.Tensor
    bias: torch.Tensor
    last: torch.Tensor
    last_bias: torch.Tensor

    def slice_logits(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """Return log-odds; see `HeadModule`."""
        hidden = torch.relu(torch.nn.functional.linear(features, self.kernel, self.bias))
        return hidden @ self.last + self.last_bias


def fit_mlp(
    spec: MlpHeadSpec,
    table: FeatureTable,
    labels: IntArray,
    slices: BoolArray,
    *,
    weights: npt.NDArray[np.float64] | None,
    seed: int,
    device: str,
) -> Head:
    """Fit slice by slice."""
    chosen = np.flatnonzero(slices.reshape(-1))
    rows = torch.from_numpy(table.features.reshape(-1, table.features.shape[2]))
    targets = np.repeat(labels, slices.shape[1]).astype(np.float32)
    by_slice = None
    if weights is not None:
        by_slice = np.repeat(weights, slices.shape[1])[chosen].astype(np.float32)

    def train() -> Head:
        trainer = _Trainer(spec, rows, targets, chosen, weights=by_slice, seed=seed, device=device)
        for _ in range(spec.epochs):
            trainer.run_epoch()
        return trainer.head()

    # The running squares of features that seldom fire decay into denormal numbers.
    with one_core_each(1, flush_denormals=True) as pool:
        return pool.submit(train).result()


class _Trainer:
    """The state of a fit."""

    def __init__(
        self,
        spec: MlpHeadSpec,
        rows: torch.Tensor,
        targets: FloatArray,
        chosen: IntArray,
        *,
        weights: FloatArray | None,
        seed: int,
        device: str,
    ) -> None:
        self.spec = spec
        self.device = device
        self.rng = np.random.default_rng(seed)
        self.initial = _glorot(self.rng, spec.hidden, rows.shape[1])
        alive = torch.zeros(rows.shape[1], dtype=torch.bool)
        for part in np.array_split(chosen, max(1, len(chosen) // 512)):
            alive |= (rows[torch.from_numpy(part)] != 0).any(0)
        self.alive = alive.numpy()
        self.rows = rows[torch.from_numpy(chosen)][:, alive].to(device)
        self.targets = torch.from_numpy(targets[chosen]).to(device)
        self.weights = None if weights is None else torch.from_numpy(weights).to(device)
        last = _glorot(self.rng, 1, spec.hidden)
        self.parameters = [
            torch.from_numpy(self.initial[:, self.alive]).to(device),
            torch.zeros(1, spec.hidden, device=device),
            torch.from_numpy(last).to(device).transpose(0, 1).contiguous(),
            torch.zeros(1, 1, device=device),
        ]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        # Kept from step to step: new blocks of this size would be mapped and cleared every time.
        self.gradient = torch.empty_like(self.parameters[0])
        self.scratch = [torch.empty_like(parameter) for parameter in self.parameters]

    def run_epoch(self) -> None:
        """Pass once over the slices, in an order of its own."""
        order = torch.from_numpy(self.rng.permutation(len(self.rows))).to(self.device)
        seed = int(self.rng.integers(2**62))
        generator = torch.Generator(self.device).manual_seed(seed)
        for batch in torch.split(order, self.spec.batch_size):
            self._step(batch, generator)

    def _step(self, batch: torch.Tensor, generator: torch.Generator) -> None:
        """One RMSprop step; gradients by hand, since autograd would copy the large matrix."""
        kernel, bias, last, last_bias = self.parameters
        x = self.rows[batch]
        hidden = torch.addmm(bias, x, kernel.T).relu_()
        keep = 1 - self.spec.dropout
        drop = torch.rand(hidden.shape, generator=generator, device=self.device)
        drop = (drop < keep).float().div_(keep)
        active = hidden * drop
        logits = torch.addmm(last_bias, active, last)
        error = (torch.sigmoid(logits) - self.targets[batch][:, None]) / len(batch)
        if self.weights is not None:
            error *= self.weights[batch][:, None]
        back = (error * last.T).mul_(drop).mul_(hidden > 0)
        torch.mm(back.T, x, out=self.gradient)
        gradients = [
            self.gradient,
            back.sum(0, keepdim=True),
            active.T @ error,
            error.sum(0, keepdim=True),
        ]
        for value, square, scratch, gradient in zip(
            self.parameters, self.squares, self.scratch, gradients, strict=True
        ):
            square.mul_(_RHO).addcmul_(gradient, gradient, value=1 - _RHO)
            torch.sqrt(square, out=scratch).add_(_EPSILON)
            value.addcdiv_(gradient, scratch, value=-self.spec.learning_rate)

    def head(self) -> Head:
        """Return the head as it is now."""
        kernel, bias, last, last_bias = (p.cpu().numpy() for p in self.parameters)
        whole = self.initial.copy()
        whole[:, self.alive] = kernel
        tensors = {
            "kernel": whole,
            "bias": bias[0].copy(),
            "last": last[:, 0].copy(),
            "last_bias": last_bias[0].copy(),
        }
        return Head(kind="mlp", tensors=tensors)


def _glorot(rng: np.random.Generator, n_out: int, n_in: int) -> FloatArray:
    """Draw a Glorot-uniform kernel of shape (n_out, n_in)."""
    limit = np.sqrt(6.0 / (n_in + n_out))
    return rng.uniform(-limit, limit, size=(n_out, n_in)).astype(np.float32)
