"""The published head of Hon and Khan (2017): flatten, dense 256 ReLU, dropout, dense 1 sigmoid.

Trained slice by slice with RMSprop on binary cross-entropy, last epoch kept, as their code did
(Keras: Glorot-uniform kernels, zero biases, RMSprop with rho 0.9 and epsilon 1e-7).

Two choices make a hundred epochs affordable without changing the result. Features that are zero
in every training slice have no gradient, so only the others are trained. And on a processor every
core trains a fit of its own, since one weight matrix with its optimiser state just fits the cache
where fifteen do not, and since steps of half a millisecond are too short to be shared between
threads. On a GPU all fits advance together in batched products.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import one_core_each
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads.head import Fit, Head
from mri_transfer.models.heads.module import HeadModule
from mri_transfer.models.heads.settings import PublishedHeadSpec

__all__ = ["PublishedModule", "fit_published"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_RHO = 0.9
_EPSILON = 1e-7


class PublishedModule(HeadModule):
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


def fit_published(
    spec: PublishedHeadSpec,
    table: FeatureTable,
    labels: npt.NDArray[np.int64],
    fits: Sequence[Fit],
    *,
    device: str,
) -> Iterator[tuple[int, Head]]:
    """Fit one head for each request, slice by slice."""
    n_features = table.features.shape[2]
    rows = torch.from_numpy(table.features.reshape(-1, n_features))
    targets = np.repeat(labels, table.features.shape[1]).astype(np.float32)

    def train(group: Sequence[Fit]) -> list[Head]:
        trainer = _Trainer(spec, rows, targets, group, device)
        for _ in range(spec.epochs):
            trainer.run_epoch()
        return list(trainer.heads())

    # On a GPU all fits advance together; on a processor every core trains one of its own.
    together = device != "cpu"
    groups = [fits] if together else [[fit] for fit in fits]
    workers = 1 if together else torch.get_num_threads()
    # The running squares of features that seldom fire decay into denormal numbers.
    with one_core_each(workers, flush_denormals=True) as pool:
        yield from enumerate(itertools.chain.from_iterable(pool.map(train, groups)))


class _Trainer:
    """The state of several fits that advance together: arrays begin with an axis of fits."""

    def __init__(
        self,
        spec: PublishedHeadSpec,
        rows: torch.Tensor,
        targets: FloatArray,
        fits: Sequence[Fit],
        device: str,
    ) -> None:
        self.spec = spec
        self.device = device
        self.rngs = [np.random.default_rng(fit.seed) for fit in fits]
        self.members = [np.flatnonzero(fit.train.reshape(-1)) for fit in fits]
        self.initial = [_glorot(rng, spec.hidden, rows.shape[1]) for rng in self.rngs]
        alive = torch.zeros(rows.shape[1], dtype=torch.bool)
        for members in self.members:
            for part in np.array_split(members, max(1, len(members) // 512)):
                alive |= (rows[torch.from_numpy(part)] != 0).any(0)
        self.alive = alive.numpy()
        # Slices no fit trains on stay out of the copy; positions are renumbered.
        used = np.unique(np.concatenate(self.members))
        self.position = {fit: np.searchsorted(used, m) for fit, m in enumerate(self.members)}
        self.rows = rows[torch.from_numpy(used)][:, alive].to(device)
        self.targets = torch.from_numpy(targets[used]).to(device)
        last = [_glorot(rng, 1, spec.hidden) for rng in self.rngs]
        self.parameters = [
            torch.from_numpy(np.stack([w[:, self.alive] for w in self.initial])).to(device),
            torch.zeros(len(fits), 1, spec.hidden, device=device),
            torch.from_numpy(np.stack(last)).to(device).transpose(1, 2).contiguous(),
            torch.zeros(len(fits), 1, 1, device=device),
        ]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        # Kept from step to step: new blocks of this size would be mapped and cleared every time.
        self.gradient = torch.empty_like(self.parameters[0])
        self.scratch = [torch.empty_like(parameter) for parameter in self.parameters]

    def run_epoch(self) -> None:
        """Pass once over each fit's slices, in an order of its own."""
        size = self.spec.batch_size
        orders = [rng.permutation(self.position[i]) for i, rng in enumerate(self.rngs)]
        steps = -(-max(len(order) for order in orders) // size)
        padded = np.full((len(orders), steps * size), -1)
        for i, order in enumerate(orders):
            padded[i, : len(order)] = order
        seeds = [int(rng.integers(2**62)) for rng in self.rngs]
        generators = [torch.Generator(self.device).manual_seed(seed) for seed in seeds]
        batches = torch.from_numpy(padded).to(self.device).view(len(orders), steps, size)
        for step in range(steps):
            self._step(batches[:, step], generators)

    def _step(self, batch: torch.Tensor, generators: Sequence[torch.Generator]) -> None:
        """One RMSprop step; gradients by hand, since autograd would copy the large matrix."""
        kernel, bias, last, last_bias = self.parameters
        present = (batch >= 0).float()[:, :, None]
        # A fit that ran out of slices in this step has an empty batch and a zero gradient.
        share = present / present.sum(1, keepdim=True).clamp(min=1)
        index = batch.clamp(min=0)
        x = self.rows[index]
        hidden = torch.baddbmm(bias, x, kernel.transpose(1, 2)).relu_()
        keep = 1 - self.spec.dropout
        drop = torch.stack(
            [
                torch.rand(hidden.shape[1:], generator=generator, device=self.device)
                for generator in generators
            ]
        )
        drop = (drop < keep).float().div_(keep)
        active = hidden * drop
        logits = torch.baddbmm(last_bias, active, last)
        error = (torch.sigmoid(logits) - self.targets[index][:, :, None]) * share
        back = (error * last.transpose(1, 2)).mul_(drop).mul_(hidden > 0)
        torch.bmm(back.transpose(1, 2), x, out=self.gradient)
        gradients = [
            self.gradient,
            back.sum(1, keepdim=True),
            torch.bmm(active.transpose(1, 2), error),
            error.sum(1, keepdim=True),
        ]
        for value, square, scratch, gradient in zip(
            self.parameters, self.squares, self.scratch, gradients, strict=True
        ):
            square.mul_(_RHO).addcmul_(gradient, gradient, value=1 - _RHO)
            torch.sqrt(square, out=scratch).add_(_EPSILON)
            value.addcdiv_(gradient, scratch, value=-self.spec.learning_rate)

    def heads(self) -> Iterator[Head]:
        """Return the heads as they are now."""
        kernel, bias, last, last_bias = (p.cpu().numpy() for p in self.parameters)
        for i, initial in enumerate(self.initial):
            whole = initial.copy()
            whole[:, self.alive] = kernel[i]
            tensors = {
                "kernel": whole,
                "bias": bias[i, 0].copy(),
                "last": last[i, :, 0].copy(),
                "last_bias": last_bias[i, 0].copy(),
            }
            yield Head(kind="published", tensors=tensors)


def _glorot(rng: np.random.Generator, n_out: int, n_in: int) -> FloatArray:
    """Draw a Glorot-uniform kernel of shape (n_out, n_in)."""
    limit = np.sqrt(6.0 / (n_in + n_out))
    return rng.uniform(-limit, limit, size=(n_out, n_in)).astype(np.float32)
