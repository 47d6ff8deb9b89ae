"""Training a tail on the scans of some patients: a linear head first, then head and stages.

The linear head only gives the stages something to learn from. The head of the model is fitted
afterwards, to the features that the trained stages make, by the code that fits every head.

One tail is trained by one thread, whatever the machine has, so that its bytes depend on the
scans, the settings and the seed alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.errors import HeadError
from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.heads import LinearHeadSpec
from mri_transfer.models.heads.linear_fit import solve_rows
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.models.tails.adapters import moment_layers
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.steps import Optimisation
from mri_transfer.models.tails.tail import Tail, TailSource

__all__ = ["Epoch", "LabelledActivations", "TailFit", "choose_epochs", "fit_tail", "rounded"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: The smallest deviation that features are divided by.
_LEAST = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledActivations:
    """Scans behind the cut, whose they are, and their labels.

    Attributes
    ----------
    activations : ActivationTable
    patient_ids : tuple of str, length n_scans
    labels : ndarray of {0, 1}, shape (n_scans,)
    n_slices : int
        Of every scan.
    """

    activations: ActivationTable
    patient_ids: tuple[str, ...]
    labels: IntArray
    n_slices: int

    def weights(self) -> FloatArray:
        """Return each scan's weight: 1 a patient on average, labels alike in sum."""
        owners, owner, n_scans = np.unique(
            np.array(self.patient_ids, dtype=object), return_inverse=True, return_counts=True
        )
        label_of = np.zeros(len(owners), dtype=np.int64)
        label_of[owner] = self.labels
        of_label = len(owners) / (2 * np.bincount(label_of, minlength=2).clip(min=1))
        found: FloatArray = of_label[self.labels] / n_scans[owner]
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of a fit; the first, before any training, has no loss.

    Attributes
    ----------
    loss : float or None
        Mean over the epoch's batches.
    log_loss, auc : float or None
        Of patients held out inside training, by the linear head.
    """

    loss: float | None = None
    log_loss: float | None = None
    auc: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TailFit:
    """A tail as it was after each epoch.

    Attributes
    ----------
    tails : list of Tail
        After 0, 1, ... epochs where patients were held out; else the last one alone.
    epochs : list of Epoch
        From epoch 0 on.
    distances : mapping of str to float
        How far each stage's trained parameters went from their start, over the start's norm.
    n_parameters : int
        Trained in the stages.
    """

    tails: list[Tail]
    epochs: list[Epoch]
    distances: Mapping[str, float]
    n_parameters: int


def fit_tail(
    source: TailSource,
    spec: TuningSpec,
    train: LabelledActivations,
    *,
    pooling: str,
    seed: int,
    n_epochs: int,
    held_out: LabelledActivations | None = None,
) -> TailFit:
    """Train a tail.

    Parameters
    ----------
    source : TailSource
    spec : TuningSpec
    train : LabelledActivations
    pooling : str
        How the linear head sees maps.
    seed : int
        Draws the order of scans, slices and first factors.
    n_epochs : int
        At most so many; the schedule is that of `spec.epochs`.
    held_out : LabelledActivations, optional
        Patients inside training whose figures are written down after each epoch, and by which the
        fit stops early.

    Raises
    ------
    HeadError
        If there are no training patients of one of the labels.
    """
    if set(train.labels.tolist()) != {0, 1}:
        raise HeadError("a tail needs training patients of both labels")
    trainer = _Trainer(source, spec, train, pooling=pooling, seed=seed)
    epochs, tails = [trainer.watched(held_out, None)], [trainer.tail(trained=False)]
    for epoch in range(n_epochs):
        loss = trainer.run_epoch(epoch)
        epochs.append(trainer.watched(held_out, loss))
        if held_out is not None:
            tails.append(trainer.tail())
            if _is_over(epochs, spec):
                break
    if held_out is None and n_epochs:
        tails = [trainer.tail()]
    return TailFit(
        tails=tails,
        epochs=epochs,
        distances=dict(zip(source.stages, trainer.optimisation.distances(), strict=True)),
        n_parameters=trainer.n_parameters,
    )


def choose_epochs(fits: list[list[Epoch]], spec: TuningSpec) -> int:
    """Return the number of epochs that is best in the mean of inner fits.

    Parameters
    ----------
    fits : list of list of Epoch
        Of each inner fit, perhaps of different lengths: only epochs that all reached count.
    spec : TuningSpec
    """
    if not spec.patience:
        return spec.epochs
    curves = [_badness(epochs, spec) for epochs in fits]
    reached = min(map(len, curves))
    return _best(np.mean([curve[:reached] for curve in curves], axis=0), spec)


def _is_over(epochs: list[Epoch], spec: TuningSpec) -> bool:
    if not spec.patience:
        return False
    curve = _badness(epochs, spec)
    return len(curve) - 1 - _best(curve, spec) >= spec.patience


def _badness(epochs: list[Epoch], spec: TuningSpec) -> FloatArray:
    if spec.stop_on == "log_loss":
        return np.array([epoch.log_loss for epoch in epochs], dtype=np.float64)
    return -np.array([epoch.auc for epoch in epochs], dtype=np.float64)


def _best(curve: FloatArray, spec: TuningSpec) -> int:
    """Return the first best epoch; untrained random weights are no choice."""
    first = int(spec.start == "random")
    return first + int(curve[first:].argmin()) if len(curve) > first else first


class _Trainer:
    """A network, its linear head and their optimisation."""

    def __init__(
        self,
        source: TailSource,
        spec: TuningSpec,
        train: LabelledActivations,
        *,
        pooling: str,
        seed: int,
    ) -> None:
        self.source, self.spec, self.train = source, spec, train
        self.rng = np.random.default_rng(seed)
        self.network = source.start(spec, seed=int(self.rng.integers(2**31)))
        self.pool = PoolMaps(pooling)
        self.weights = torch.from_numpy(train.weights()).float()
        self.per_scan = min(spec.slices_per_scan, train.n_slices)
        self.mean, self.deviation, head = self._probe()
        self.head = [torch.nn.Parameter(part.to(source.device)) for part in head]
        self.n_steps = -(-len(train.labels) // spec.batch_scans)
        named = dict(self.network.named_parameters())
        self.trained = [name for name, p in named.items() if p.requires_grad]
        self.n_parameters = sum(named[name].numel() for name in self.trained)
        self.optimisation = Optimisation(
            self.network.tail, self.head, spec, n_steps=spec.epochs * self.n_steps
        )

    def _features(self, kept: torch.Tensor) -> torch.Tensor:
        with self.source.autocast():
            maps = self.network.resume(kept.to(self.source.device))
        features: torch.Tensor = self.pool(maps.float())
        return features

    def _logits(self, kept: torch.Tensor) -> torch.Tensor:
        weight, bias = self.head
        scaled = (self._features(kept) - self.mean) / self.deviation
        return scaled @ weight + bias

    def _probe(self) -> tuple[torch.Tensor, float, tuple[torch.Tensor, torch.Tensor]]:
        """Return the features' mean and deviation, and the linear head that is fitted to them."""
        rows = np.stack([f.mean(0) for f in self._whole_features(self.train)]).astype(np.float64)
        mean = rows.mean(axis=0)
        deviation = max(float(np.sqrt(rows.var(axis=0).sum())), _LEAST)
        weight, bias = np.zeros(rows.shape[1]), 0.0
        if self.spec.head_first and self.spec.start != "random":
            found, bias = solve_rows(
                rows[:, None], self.train.labels, LinearHeadSpec(zones=1), n_slices=1
            )
            weight = found[0] * deviation
        parts = (torch.from_numpy(weight).float(), torch.tensor(bias, dtype=torch.float32))
        return torch.from_numpy(mean).float().to(self.source.device), deviation, parts

    def _whole_features(self, data: LabelledActivations) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the features of evenly spread slices of each scan, in evaluation mode."""
        self.network.eval()
        edges = self._edges(data.n_slices)
        slices = (edges[:-1] + edges[1:]) // 2
        with torch.no_grad():
            for scan in range(len(data.labels)):
                yield self._features(data.activations.read(scan, slices)).cpu().numpy()

    def _edges(self, n_slices: int) -> IntArray:
        """Return the borders of as many parts of a scan as slices are drawn."""
        return np.arange(self.per_scan + 1, dtype=np.int64) * n_slices // self.per_scan

    def run_epoch(self, epoch: int) -> float:
        """Pass once over the scans; return the mean loss."""
        self.network.eval()
        if self.spec.norm_moments == "adapt":
            for layer in moment_layers(self.network):
                layer.train()
        self.optimisation.begin_epoch(epoch)
        order, losses = self.rng.permutation(len(self.train.labels)), []
        for step in range(self.n_steps):
            scans = order[step * self.spec.batch_scans : (step + 1) * self.spec.batch_scans]
            loss = self._loss(scans)
            self.optimisation.step(loss)
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def _loss(self, scans: IntArray) -> torch.Tensor:
        edges = self._edges(self.train.n_slices)
        drawn = self.rng.integers(edges[:-1], edges[1:], size=(len(scans), self.per_scan))
        kept = [
            self.train.activations.read(int(scan), slices)
            for scan, slices in zip(scans, drawn, strict=True)
        ]
        logits = self._logits(torch.cat(kept)).view(len(scans), self.per_scan)
        targets = torch.from_numpy(self.train.labels[scans]).to(logits)
        weights = self.weights[torch.from_numpy(scans)].to(logits)
        if self.spec.loss == "patient":
            logits = logits.mean(1)
        else:
            targets = targets[:, None].expand_as(logits)
            weights = weights[:, None].expand_as(logits)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, weight=weights)

    def watched(self, held_out: LabelledActivations | None, loss: float | None) -> Epoch:
        """Return the epoch's figures, those of patients held out where there are any."""
        if held_out is None:
            return Epoch(loss=loss)
        weight, bias = (part.detach().cpu().numpy() for part in self.head)
        mean = self.mean.cpu().numpy()
        scans = [
            float((((f - mean) / self.deviation) @ weight + bias).mean())
            for f in self._whole_features(held_out)
        ]
        _, first, owner = np.unique(
            np.array(held_out.patient_ids, dtype=object), return_index=True, return_inverse=True
        )
        logits = np.bincount(owner, scans) / np.bincount(owner)
        labels = held_out.labels[first]
        losses = np.logaddexp(0.0, np.where(labels == 1, -logits, logits))
        return Epoch(loss=loss, log_loss=float(losses.mean()), auc=auc(labels, logits))

    def tail(self, *, trained: bool = True) -> Tail:
        """Return the tail as it is now, or as it was before training."""
        return Tail(
            tensors=self._tensors() if trained else {},
            spec=self.spec,
            cut=self.source.cut,
            weights_digest=self.source.weights_digest,
            source=self.source,
        )

    def _tensors(self) -> dict[str, npt.NDArray[Any]]:
        parameters = dict(self.network.named_parameters())
        tensors = {name: rounded(parameters[name].detach()) for name in self.trained}
        if self.spec.norm_moments == "adapt":
            for name, moments in self.network.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    tensors[name] = moments.cpu().numpy().copy()
        return tensors


def rounded(values: torch.Tensor) -> npt.NDArray[Any]:
    """Return values in half precision, or in single precision where they do not fit."""
    full = values.cpu().numpy()
    with np.errstate(over="ignore"):
        half = full.astype(np.float16)
    return half if np.isfinite(half).all() else full.copy()
