"""What a cross-validation says of the patients it held out, and figures of resampled patients."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import FloatArray, IntArray

__all__ = ["METRICS", "Outcome", "outcome_metric", "pair_kernel"]


METRICS = ("slice_accuracy", "slice_auc", "patient_auc", "patient_balanced_accuracy")


def pair_kernel(positive: FloatArray, negative: FloatArray) -> FloatArray:
    """Return, per pair of patients, the share of slice pairs that are ranked rightly.

    Its mean over pairs is the AUC; ties count one half.

    Parameters
    ----------
    positive : ndarray, shape (n_positive, n_slices)
    negative : ndarray, shape (n_negative, n_slices)

    Returns
    -------
    ndarray, shape (n_positive, n_negative)
    """
    kernel = np.empty((len(positive), len(negative)))
    for j, row in enumerate(negative):
        ordered = np.sort(row)
        below = np.searchsorted(ordered, positive, side="left")
        up_to = np.searchsorted(ordered, positive, side="right")
        kernel[:, j] = (below + up_to).mean(axis=1) / (2 * len(ordered))
    return kernel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one cross-validation says of the patients it held out.

    Attributes
    ----------
    labels : ndarray of int64, shape (n_patients,)
        As the arm saw them.
    slice_accuracy : ndarray of float64, shape (n_patients,)
        Share of each patient's slices that are classified correctly.
    slice_logits : ndarray of float32, shape (n_patients, n_slices)
        Log-odds, averaged slice by slice over a patient's scans, so that each has one row.
    scores : ndarray of float64, shape (n_patients,)
        Slices joined into a score of the patient.
    """

    labels: IntArray
    slice_accuracy: FloatArray
    slice_logits: npt.NDArray[np.float32]
    scores: FloatArray

    @functools.cached_property
    def patient_right(self) -> FloatArray:
        """Whether each patient is classified correctly, 0 or 1, shape (n_patients,)."""
        right: FloatArray = ((self.scores > 0.5) == (self.labels == 1)).astype(np.float64)
        return right

    @functools.cached_property
    def slice_kernel(self) -> FloatArray:
        """`pair_kernel` of the slices."""
        return self._kernel(self.slice_logits.astype(np.float64))

    @functools.cached_property
    def patient_kernel(self) -> FloatArray:
        """`pair_kernel` of the patients' scores."""
        return self._kernel(self.scores[:, None])

    def _kernel(self, rows: FloatArray) -> FloatArray:
        return pair_kernel(rows[self.labels == 1], rows[self.labels == 0])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, from which `from_dict` makes the same bits."""
        # Written as single-precision numbers are: digits beyond them would carry nothing.
        logits = self.slice_logits.astype(str).astype(np.float64)
        return {
            "labels": self.labels.tolist(),
            "slice_accuracy": self.slice_accuracy.tolist(),
            "slice_logits": logits.tolist(),
            "scores": self.scores.tolist(),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Outcome:
        """Return what `as_dict` described."""
        return cls(
            labels=np.array(content["labels"], dtype=np.int64),
            slice_accuracy=np.array(content["slice_accuracy"], dtype=np.float64),
            slice_logits=np.array(content["slice_logits"], dtype=np.float32),
            scores=np.array(content["scores"], dtype=np.float64),
        )


def outcome_metric(outcome: Outcome, metric: str, counts: FloatArray) -> FloatArray:
    """Return a metric for rows of patient counts.

    Parameters
    ----------
    outcome : Outcome
    metric : str
        One of `METRICS`.
    counts : ndarray of float64, shape (n_rows, n_patients)
        How often each patient counts; 0 leaves one out.

    Returns
    -------
    ndarray of float64, shape (n_rows,)
        NaN where a row has no patient of one label and the metric needs both.
    """
    if metric == "slice_accuracy":
        value: FloatArray = counts @ outcome.slice_accuracy / counts.sum(axis=1)
        return value
    up, down = counts[:, outcome.labels == 1], counts[:, outcome.labels == 0]
    both = (up.sum(axis=1) > 0) & (down.sum(axis=1) > 0)
    n_up, n_down = np.maximum(up.sum(axis=1), 1.0), np.maximum(down.sum(axis=1), 1.0)
    if metric == "patient_balanced_accuracy":
        right = outcome.patient_right
        value = up @ right[outcome.labels == 1] / n_up + down @ right[outcome.labels == 0] / n_down
        return np.where(both, value / 2, np.nan)
    kernel = outcome.slice_kernel if metric == "slice_auc" else outcome.patient_kernel
    return np.where(both, ((up @ kernel) * down).sum(axis=1) / (n_up * n_down), np.nan)
