"""Aggregation: how the slices of a patient become one score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from mri_transfer.models.heads import SliceOutput

__all__ = ["Aggregation", "join_slices", "resolve_aggregation"]

FloatArray = npt.NDArray[np.float64]

Aggregation = Literal["mean_probability", "mean_logit", "majority", "attention"]


_AGGREGATION_OF: dict[str, Aggregation] = {
    "linear": "mean_logit",
    "published": "mean_probability",
    "attention": "attention",
}


def resolve_aggregation(aggregation: Aggregation | Literal["auto"], head_kind: str) -> Aggregation:
    """Return the aggregation, with `auto` replaced by the head's own."""
    return _AGGREGATION_OF[head_kind] if aggregation == "auto" else aggregation


def join_slices(
    output: SliceOutput, patient_ids: Sequence[str], method: Aggregation
) -> dict[str, float]:
    """Join the slices of each patient into one score.

    Parameters
    ----------
    output : SliceOutput
        Log-odds and weights, shape (n_scans, n_slices).
    patient_ids : sequence of str, length n_scans
        Scans of one patient are joined, each scan counting the same.
    method : Aggregation
        `mean_probability`: mean of the slices' probabilities; `mean_logit`: probability of the
        mean log-odds; `majority`: share of slices above one half; `attention`: probability of the
        log-odds weighted as the head weighs its slices.

    Returns
    -------
    dict of str to float
        Score of the positive label, 0 to 1, per patient in order of appearance.
    """
    from scipy.special import expit

    logits = output.logits.astype(np.float64)
    if method == "mean_probability":
        scans = expit(logits).mean(axis=1)
    elif method == "majority":
        scans = (logits > 0).mean(axis=1)
    elif method == "mean_logit":
        scans = logits.mean(axis=1)
    else:
        scans = (logits * output.weights).sum(axis=1)
    owners = np.array(patient_ids, dtype=object)
    joined = {name: float(scans[owners == name].mean()) for name in dict.fromkeys(patient_ids)}
    if method in ("mean_logit", "attention"):
        return {name: float(expit(value)) for name, value in joined.items()}
    return joined
