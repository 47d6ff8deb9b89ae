"""TailTrainer: a tail, the linear head that it learns from, and their optimisation.

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

from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.heads import LinearHeadSpec
from mri_transfer.models.heads.linear_fit import solve_rows
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.models.tails.adapters import moment_layers
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.steps import Optimisation
from mri_transfer.models.tails.tail import Tail, TailSource

__all__ = ["Epoch", "LabelledActivations", "TailStart", "TailTrainer", "rounded"]

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
class TailStart:
    """A fitted tail that training goes on from.

    Attributes
    ----------
    tail : Tail
    importance : mapping of str to ndarray of float32, optional
        Of each trained parameter, by name: what `TuningSpec.ewc` weighs its way by.
    """

    tail: Tail
    importance: Mapping[str, npt.NDArray[np.float32]] | None = None


class TailTrainer:
    """A network, its linear head and their optimisation.

    Parameters
    ----------
    source : TailSource
    spec : TuningSpec
    train : LabelledActivations
    pooling : str
        How the linear head sees maps.
    seed : int
        Draws the order of scans, slices and first factors.
    start : TailStart, optional
        What to go on from; the source's own weights where nothing is given.

    Attributes
    ----------
    parameters : dict of str to Parameter
        Those of the stages that are trained.
    n_parameters : int
        Numbers in them.
    """

    def __init__(
        self,
        source: TailSource,
        spec: TuningSpec,
        train: LabelledActivations,
        *,
        pooling: str,
        seed: int,
        start: TailStart | None = None,
    ) -> None:
        self.source, self.spec, self.train = source, spec, train
        self.rng = np.random.default_rng(seed)
        self._before = {} if start is None else start.tail.tensors
        self.network = source.start(spec, seed=int(self.rng.integers(2**31)), tensors=self._before)
        # A head can be fitted to what random weights show only once they have been trained.
        self._probes = spec.head_first and (spec.start != "random" or bool(self._before))
        self.pool = PoolMaps(pooling)
        self.weights = torch.from_numpy(train.weights()).float()
        self.per_scan = min(spec.slices_per_scan, train.n_slices)
        self.mean, self.deviation, head = self._probe()
        self.head = [torch.nn.Parameter(part.to(source.device)) for part in head]
        self.n_steps = -(-len(train.labels) // spec.batch_scans)
        self.parameters = {
            name: p for name, p in self.network.named_parameters() if p.requires_grad
        }
        self.n_parameters = sum(p.numel() for p in self.parameters.values())
        importance = start.importance if start is not None else None
        self.optimisation = Optimisation(
            self.network.tail,
            self.head,
            spec,
            n_steps=spec.epochs * self.n_steps,
            importance=None
            if importance is None
            else {
                name.removeprefix("tail."): torch.from_numpy(values)
                for name, values in importance.items()
            },
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
        if self._probes:
            found, bias = solve_rows(
                rows[:, None], self.train.labels, LinearHeadSpec(zones=1), n_slices=1
            )
            weight = found[0] * deviation
        parts = (torch.from_numpy(weight).float(), torch.tensor(bias, dtype=torch.float32))
        return torch.from_numpy(mean).float().to(self.source.device), deviation, parts

    def _whole_features(self, data: LabelledActivations) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the features of evenly spread slices of each scan, in evaluation mode."""
        self.network.eval()
        slices = self._spread_slices(data.n_slices)
        with torch.no_grad():
            for scan in range(len(data.labels)):
                yield self._features(data.activations.read(scan, slices)).cpu().numpy()

    def _spread_slices(self, n_slices: int) -> IntArray:
        edges = self._edges(n_slices)
        return (edges[:-1] + edges[1:]) // 2

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
        mean = float(np.mean(losses))
        self.optimisation.end_epoch(mean)
        return mean

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

    def scan_loss(self, scan: int) -> torch.Tensor:
        """Return the cross-entropy of one scan as a whole, not weighed, in evaluation mode.

        Parameters
        ----------
        scan : int
            Position among the training scans.
        """
        self.network.eval()
        kept = self.train.activations.read(scan, self._spread_slices(self.train.n_slices))
        logit = self._logits(kept).mean()
        target = torch.tensor(float(self.train.labels[scan])).to(logit)
        return torch.nn.functional.binary_cross_entropy_with_logits(logit, target)

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
            tensors=self._tensors() if trained else self._before,
            spec=self.spec,
            cut=self.source.cut,
            weights_digest=self.source.weights_digest,
            source=self.source,
        )

    def _tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors = {name: rounded(p.detach()) for name, p in self.parameters.items()}
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
