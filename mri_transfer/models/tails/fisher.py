"""How much the loss of some patients depends on each weight of a tail."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.tails.trainer import LabelledActivations, TailStart, TailTrainer

__all__ = ["empirical_fisher"]


def empirical_fisher(
    source: TailSource,
    tail: Tail,
    patients: LabelledActivations,
    *,
    spec: TuningSpec,
    pooling: str,
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the diagonal of the empirical Fisher information of a tail's trained parameters.

    It is the mean over patients of the squared gradient of a patient's cross-entropy, by the linear
    head that is fitted to the features of the tail; labels weigh alike, and a patient's scans share
    the patient's weight, as in training.

    Parameters
    ----------
    source : TailSource
    tail : Tail
        At whose weights gradients are taken.
    patients : LabelledActivations
        That the tail was trained on.
    spec : TuningSpec
        Its method and slices a scan.
    pooling : str
        How the linear head sees maps.

    Returns
    -------
    dict of str to ndarray of float32
        By the name of the parameter, of its shape.
    """
    # Without a fitted head no loss depends on any weight behind it.
    probing = dataclasses.replace(spec, head_first=True)
    trainer = TailTrainer(
        source, probing, patients, pooling=pooling, seed=0, start=TailStart(tail=tail)
    )
    squares = [torch.zeros_like(p) for p in trainer.parameters.values()]
    weights = patients.weights()
    for scan, weight in enumerate(weights):
        found = torch.autograd.grad(trainer.scan_loss(scan), list(trainer.parameters.values()))
        for total, gradient in zip(squares, found, strict=True):
            total.add_(gradient.square(), alpha=float(weight))
    n_patients = len(set(patients.patient_ids))
    return {
        name: (total / n_patients).cpu().numpy()
        for name, total in zip(trainer.parameters, squares, strict=True)
    }
