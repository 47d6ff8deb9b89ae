"""Heads: small trainable classifiers on the frozen trunk's features; one module a head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mri_transfer.errors import HeadError
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads.attention import AttentionHeadSpec, apply_attention, fit_attention
from mri_transfer.models.heads.head import Fit, Head, SliceOutput
from mri_transfer.models.heads.linear import LinearHeadSpec, apply_linear, fit_linear
from mri_transfer.models.heads.published import PublishedHeadSpec, apply_published, fit_published

__all__ = [
    "HEAD_KINDS",
    "AnyHeadSpec",
    "AttentionHeadSpec",
    "Fit",
    "Head",
    "HeadSpec",
    "LinearHeadSpec",
    "PublishedHeadSpec",
    "SliceOutput",
    "apply_head",
    "fit_heads",
]

AnyHeadSpec = LinearHeadSpec | PublishedHeadSpec | AttentionHeadSpec
#: The same for readers of configurations: `kind` says which.
HeadSpec = Annotated[AnyHeadSpec, Field(discriminator="kind")]

_APPLY = {
    "linear": apply_linear,
    "published": apply_published,
    "attention": apply_attention,
}

#: Values of a head's `kind`.
HEAD_KINDS = tuple(_APPLY)


def fit_heads(
    spec: AnyHeadSpec,
    table: FeatureTable,
    labels: npt.NDArray[np.int64],
    fits: Sequence[Fit],
) -> Iterator[tuple[int, Head]]:
    """Fit a head for every request, all in one pass.

    Parameters
    ----------
    spec : HeadSpec
    table : FeatureTable
        Features of the cohort's scans.
    labels : ndarray of int64, shape (n_scans,)
        1 for the positive label, 0 for the other; read for training slices only.
    fits : sequence of Fit

    Yields
    ------
    fit : int
        Position in `fits`, rising.
    head : Head

    Raises
    ------
    HeadError
        If a request has no training slice of one of the labels.
    """
    for i, fit in enumerate(fits):
        seen = set(labels[fit.train.any(axis=1)].tolist())
        if seen != {0, 1}:
            raise HeadError(
                "a head needs training patients of both labels",
                where=f"fit {i}",
                found=str(sorted(seen)),
                expected="[0, 1]",
            )
    if isinstance(spec, LinearHeadSpec):
        return fit_linear(spec, table, labels, fits)
    if isinstance(spec, PublishedHeadSpec):
        return fit_published(spec, table, labels, fits)
    return fit_attention(spec, table, labels, fits)


def apply_head(head: Head, features: npt.NDArray[np.float32]) -> SliceOutput:
    """Score the slices of scans.

    Parameters
    ----------
    head : Head
    features : ndarray of float32, shape (n_scans, n_slices, n_features)

    Raises
    ------
    HeadError
        If the head is of an unknown kind or expects other features.
    """
    if head.kind not in _APPLY:
        raise HeadError("unknown kind of head", found=head.kind, expected=", ".join(_APPLY))
    first = head.tensors["kernel" if head.kind == "published" else "weight"]
    if first.shape[-1] != features.shape[-1]:
        raise HeadError(
            "the head was fitted on other features",
            found=f"{features.shape[-1]} features a slice",
            expected=str(first.shape[-1]),
        )
    return _APPLY[head.kind](head.tensors, features)
