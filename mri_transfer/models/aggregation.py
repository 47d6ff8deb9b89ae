"""Aggregation: how the slices of a patient become one score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import torch

from mri_transfer.models.heads import SliceOutput
from mri_transfer.models.heads.entry import Aggregation

__all__ = [
    "AGGREGATIONS",
    "Aggregation",
    "JoinSlices",
    "join_slices",
]


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One way of joining slices.

    Attributes
    ----------
    words : str
        What is joined.
    in_log_odds : bool
        Whether a scan's number is a log-odds, whose mean over a patient's scans becomes a
        probability; otherwise it is a probability or a share already.
    join : callable
        Log-odds and weights of slices, both (n_scans, n_slices), to one number a scan.
    """

    words: str
    in_log_odds: bool
    join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


AGGREGATIONS = {
    "mean_probability": _Entry(
        "mean probability of the slices", False, lambda logits, _: torch.sigmoid(logits).mean(1)
    ),
    "mean_logit": _Entry("mean log-odds of the slices", True, lambda logits, _: logits.mean(1)),
    "majority": _Entry(
        "share of slices above one half",
        False,
        lambda logits, _: (logits > 0).to(logits.dtype).mean(1),
    ),
    "attention": _Entry(
        "log-odds of the slices, weighed by the head",
        True,
        lambda logits, weights: (logits * weights).sum(1),
    ),
}
assert tuple(AGGREGATIONS) == get_args(Aggregation)


class JoinSlices(torch.nn.Module):
    """Slices of scans to scores of patients.

    Parameters
    ----------
    method : Aggregation
    """

    def __init__(self, method: Aggregation) -> None:
        super().__init__()
        self.method = method
        self._entry = AGGREGATIONS[method]

    def forward(
        self, logits: torch.Tensor, weights: torch.Tensor, patients: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Join slices.

        Parameters
        ----------
        logits, weights : Tensor, shape (n_scans, n_slices)
        patients : Tensor of int64, shape (n_scans,), optional
            The patient of each scan, from 0 up without a gap; by default each scan is one.

        Returns
        -------
        Tensor, shape (n_patients,)
            Score of the positive label, 0 to 1. Each scan of a patient counts the same.
        """
        joined = self._entry.join(logits, weights)
        if patients is not None:
            n_patients = int(patients.max()) + 1 if len(patients) else 0
            sums = joined.new_zeros(n_patients).index_add(0, patients, joined)
            joined = sums / torch.bincount(patients, minlength=n_patients)
        return torch.sigmoid(joined) if self._entry.in_log_odds else joined


def join_slices(
    output: SliceOutput, patient_ids: Sequence[str], method: Aggregation
) -> dict[str, float]:
    """Join the slices of each patient into one score, in double precision.

    Parameters
    ----------
    output : SliceOutput
        Log-odds and weights, shape (n_scans, n_slices).
    patient_ids : sequence of str, length n_scans
        Scans of one patient are joined, each scan counting the same.
    method : Aggregation
        A name of `AGGREGATIONS`.

    Returns
    -------
    dict of str to float
        Score of the positive label, 0 to 1, per patient in order of appearance.
    """
    position = {name: i for i, name in enumerate(dict.fromkeys(patient_ids))}
    patients = np.array([position[name] for name in patient_ids], dtype=np.int64)
    logits, weights = (
        torch.from_numpy(np.asarray(values, dtype=np.float64))
        for values in (output.logits, output.weights)
    )
    with torch.inference_mode():
        scores = JoinSlices(method)(logits, weights, torch.from_numpy(patients))
    return dict(zip(position, scores.tolist(), strict=True))
