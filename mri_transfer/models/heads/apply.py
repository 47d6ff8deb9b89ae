"""Fit heads of any kind, and score slices with them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import at_most_threads
from mri_transfer.errors import HeadError
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads.head import Head, SliceOutput
from mri_transfer.models.heads.module import HeadModule
from mri_transfer.models.heads.registry import HEADS
from mri_transfer.models.heads.settings import AnyHeadSpec
from mri_transfer.models.trunks import resolve_device

__all__ = ["apply_head", "fit_head", "head_module"]

#: Numbers that a head is applied to at once, 32 MiB in double precision.
_NUMBERS_AT_ONCE = 2**22


def fit_head(
    spec: AnyHeadSpec,
    table: FeatureTable,
    labels: npt.NDArray[np.int64],
    *,
    slices: npt.NDArray[np.bool_] | None = None,
    weights: npt.NDArray[np.float64] | None = None,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> Head:
    """Fit a head to the scans of a table.

    Parameters
    ----------
    spec : HeadSpec
    table : FeatureTable
    labels : ndarray of int64, shape (n_scans,)
        1 for the positive label, 0 for the other.
    slices : ndarray of bool, shape (n_scans, n_slices), optional
        Which slices may be read; all of them where nothing is given.
    weights : ndarray of float64, shape (n_scans,), optional
        How much each scan's patient counts, above 0; all alike where nothing is given.
    seed : int
        Draws initial weights, the order of slices and dropout.
    device : {"auto", "cpu", "cuda"}
        Where heads that are trained by gradients are trained (`FeatureSpec.device`).

    Raises
    ------
    HeadError
        If there is no slice of one of the labels.
    """
    if slices is None:
        slices = np.ones(table.features.shape[:2], dtype=np.bool_)
    seen = set(labels[slices.any(axis=1)].tolist())
    if seen != {0, 1}:
        raise HeadError(
            "a head needs training patients of both labels",
            found=str(sorted(seen)),
            expected="[0, 1]",
        )
    head: Head = (
        HEADS[spec.kind]
        .code()
        .fit(spec, table, labels, slices, weights=weights, seed=seed, device=resolve_device(device))
    )
    return head


def head_module(head: Head) -> HeadModule:
    """Return a fitted head as a module, in single precision.

    Raises
    ------
    HeadError
        If the head is of an unknown kind, or its tensors do not fit each other.
    """
    if head.kind not in HEADS:
        raise HeadError("unknown kind of head", found=head.kind, expected=", ".join(HEADS))
    return HEADS[head.kind].code().module(head.tensors)


def apply_head(
    head: Head,
    features: npt.NDArray[np.floating[Any]],
    *,
    rows: npt.NDArray[np.int64] | None = None,
) -> SliceOutput:
    """Score the slices of scans, in double precision.

    Parameters
    ----------
    head : Head
    features : ndarray of float32, shape (n_scans, n_slices, n_features)
    rows : ndarray of int64, optional
        The scans to score; all of them where nothing is given.

    Raises
    ------
    HeadError
        If the head is of an unknown kind or expects other features.
    """
    module = head_module(head).double()
    n_scans, n_slices, n_features = features.shape
    module.demand_fits(n_slices, n_features)
    n_scans = n_scans if rows is None else len(rows)
    step = max(1, _NUMBERS_AT_ONCE // (n_slices * n_features))
    output = SliceOutput(
        logits=np.empty((n_scans, n_slices), dtype=np.float32),
        weights=np.empty((n_scans, n_slices), dtype=np.float32),
    )
    # A few milliseconds' work, for which several threads cost more than they save.
    with torch.inference_mode(), at_most_threads(1):
        for start in range(0, n_scans, step):
            part = slice(start, start + step)
            scored = features[part if rows is None else rows[part]]
            logits, weights = module(torch.from_numpy(scored).double())
            output.logits[part], output.weights[part] = logits.numpy(), weights.numpy()
    return output
