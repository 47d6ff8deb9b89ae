"""Linear heads behind linear maps of features: the map is worked into the head's weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import HeadError
from mri_transfer.models.heads import Head
from mri_transfer.models.heads.linear_fit import zone_of_slices

__all__ = ["behind_affine", "centroid_head", "demand_linear"]

FloatArray = npt.NDArray[np.float64]


def demand_linear(head: Head) -> None:
    """Refuse a head that a map of features cannot be worked into."""
    if head.kind != "linear":
        raise HeadError(
            "a map of features is worked into a linear head alone",
            found=f"a head of kind {head.kind}",
            expected="heads.kind = linear",
            remedy="Use recalibration, or FiLM, which work with every head",
        )


def behind_affine(head: Head, scale: FloatArray, shift: FloatArray) -> Head:
    """Return the head that gives features what the old one gives `features * scale + shift`.

    Parameters
    ----------
    head : Head
        Linear.
    scale, shift : ndarray, shape (n_features,)
    """
    demand_linear(head)
    weight, bias = (head.tensors[name].astype(np.float64) for name in ("weight", "bias"))
    zone = zone_of_slices(len(bias), len(weight))
    return _with(head, weight * scale, bias + (weight @ shift)[zone])


def centroid_head(
    head: Head,
    rows: FloatArray,
    labels: npt.NDArray[np.int64],
    *,
    scale: float,
    projection: FloatArray | None = None,
) -> Head:
    """Return the linear head of the nearest of two centroids by cosine.

    A patient's log-odds are `scale` times the difference of its cosines to both centroids. The
    length of a patient's vector, by which a cosine divides, differs little between patients; it
    is that of the labelled patients in the mean, so that what is left is linear.

    Parameters
    ----------
    head : Head
        Gives the shapes.
    rows : ndarray, shape (n_patients, n_features)
        Mean features of labelled patients of both labels.
    labels : ndarray of {0, 1}, shape (n_patients,)
    scale : float
    projection : ndarray, shape (n_features, n_features), optional
        Features are multiplied by its transpose first.
    """
    demand_linear(head)
    projected = rows if projection is None else rows @ projection.T
    length = float(np.linalg.norm(projected, axis=1).mean())
    units = [_unit(projected[labels == label].mean(axis=0)) for label in (0, 1)]
    direction = scale * (units[1] - units[0]) / length
    if projection is not None:
        direction = direction @ projection
    zones, n_slices = len(head.tensors["weight"]), len(head.tensors["bias"])
    return _with(head, np.tile(direction, (zones, 1)), np.zeros(n_slices))


def _unit(vector: FloatArray) -> FloatArray:
    unit: FloatArray = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return unit


def _with(head: Head, weight: npt.NDArray[Any], bias: npt.NDArray[Any]) -> Head:
    tensors = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
    return dataclasses.replace(head, tensors=tensors)
