"""Training a tail on the scans of some patients: a linear head first, then head and stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import HeadError
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.tails.trainer import Epoch, LabelledActivations, TailStart, TailTrainer

__all__ = ["TailFit", "choose_epochs", "fit_tail"]

FloatArray = npt.NDArray[np.float64]


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
    start: TailStart | None = None,
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
    start : TailStart, optional
        What to go on from.

    Raises
    ------
    HeadError
        If there are no training patients of one of the labels.
    """
    if set(train.labels.tolist()) != {0, 1}:
        raise HeadError("a tail needs training patients of both labels")
    trainer = TailTrainer(source, spec, train, pooling=pooling, seed=seed, start=start)
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
