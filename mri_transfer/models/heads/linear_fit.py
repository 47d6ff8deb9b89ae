"""The regularised linear head: L2 logistic regression on a patient's mean features.

It is fitted on one row a patient, the mean over the training slices, since the label belongs to
the patient: 32 slices of one brain are not 32 independent cases. The stack may be cut into zones
of equal height whose means stand side by side, so that the same feature may count differently low
and high in the brain. Being linear the head gives every slice a log-odds, whose mean over the
slices is the patient's.

Which penalty is best cannot be told apart on a hundred patients, and choosing one per fold costs
more than it gains (docs/decisions/0004). So the default averages the heads of all penalties: a
mean of linear heads is a linear head.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.grouping import positions_by_name
from mri_transfer.core.threads import algebra_on_one_core
from mri_transfer.errors import HeadError
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads.head import Head
from mri_transfer.models.heads.module import HeadModule
from mri_transfer.models.heads.settings import LinearHeadSpec

__all__ = ["LinearModule", "fit_linear", "patient_rows", "solve_rows", "zone_of_slices"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: From here on a basis of the patients' rows no longer pays, if they have fewer features.
_MANY_PATIENTS = 2000


def zone_of_slices(n_slices: int, zones: int) -> IntArray:
    """Return the zone of each slice, shape (n_slices,), from the lowest slice up."""
    return np.arange(n_slices) * zones // n_slices


class LinearModule(HeadModule):
    """Weights for each zone of heights, a bias for each slice."""

    shapes: ClassVar = {"weight": ("zones", "features"), "bias": ("slices",)}
    weight: torch.Tensor
    bias: torch.Tensor

    def slice_logits(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """Return log-odds; see `HeadModule`."""
        n_slices, n_zones = self.lengths["slices"], self.lengths["zones"]
        zone = torch.from_numpy(zone_of_slices(n_slices, n_zones)).to(features.device)
        return (features * self.weight[zone[slices]]).sum(-1) + self.bias[slices]


def patient_rows(
    table: FeatureTable, labels: IntArray, slices: BoolArray, *, zones: int
) -> tuple[DoubleArray, IntArray]:
    """Average each training patient's slices, zone by zone.

    A patient without a training slice in a zone, which only the deliberate slice split can bring
    about, is represented there by the mean of its other slices.

    Returns
    -------
    rows : ndarray of float64, shape (n_train_patients, zones, n_features)
    labels : ndarray of int64, shape (n_train_patients,)
    """
    zone = zone_of_slices(table.features.shape[1], zones)
    if zones == table.features.shape[1] and slices.all():
        return _means_of_scans(table, labels)
    members = [
        scans for scans in positions_by_name(table.patient_ids).values() if slices[scans].any()
    ]
    rows = np.empty((len(members), zones, table.features.shape[2]))
    values = np.empty(len(members), dtype=np.int64)
    for i, scans in enumerate(members):
        values[i] = labels[scans[0]]
        for k in range(zones):
            seen = slices[scans] & (zone == k)
            seen = seen if seen.any() else slices[scans]
            rows[i, k] = table.features[scans][seen].mean(axis=0, dtype=np.float64)
    return rows, values


def _means_of_scans(table: FeatureTable, labels: IntArray) -> tuple[DoubleArray, IntArray]:
    """Average each patient's scans, where every zone is one slice."""
    scans_of = list(positions_by_name(table.patient_ids).values())
    starts = np.cumsum([0, *(len(scans) for scans in scans_of[:-1])])
    order = np.concatenate(scans_of)
    # A training view has the scans of a patient side by side, and needs no copy.
    in_order = np.array_equal(order, np.arange(len(order)))
    features = table.features if in_order else table.features[order]
    sums = np.add.reduceat(features, starts, axis=0, dtype=np.float64)
    counts = np.array([len(scans) for scans in scans_of])
    sums /= counts[:, None, None]
    return sums, labels[order[starts]]


def fit_linear(
    spec: LinearHeadSpec,
    table: FeatureTable,
    labels: IntArray,
    slices: BoolArray,
    *,
    weights: DoubleArray | None,
    seed: int,
    device: str,
) -> Head:
    """Fit by scikit-learn, which computes on the processor; the solution needs no seed."""
    del seed, device
    # The first scan of each patient, whose label and weight are the patient's.
    rows, first = patient_rows(table, np.arange(len(labels)), slices, zones=spec.zones)
    own = None if weights is None else weights[first]
    heights, mean = _mean_by_slice(table.features, slices, weights), _mean(rows, own)
    raw, intercept = solve_rows(
        rows, labels[first], spec, n_slices=slices.shape[1], weights=own, overwrite_rows=True
    )
    bias = _slice_biases(raw, intercept, mean, heights)
    tensors = {"weight": raw.astype(np.float32), "bias": bias.astype(np.float32)}
    return Head(kind="linear", tensors=tensors)


def _mean(rows: DoubleArray, weights: DoubleArray | None) -> DoubleArray:
    """Return the weighted mean of rows; the plain one where all count alike."""
    mean: DoubleArray = (
        rows.mean(axis=0) if weights is None else np.average(rows, axis=0, weights=weights)
    )
    return mean


def _deviation(
    rows: DoubleArray, scaling: Literal["global", "feature"], weights: DoubleArray | None
) -> DoubleArray:
    """Return what centred features are divided by, shape (zones, n_features)."""
    if weights is None:
        # Zone by zone, as each takes a copy of what it is the deviation of.
        spread = np.stack([zone.std(axis=0) for zone in rows.swapaxes(0, 1)])
    else:
        spread = np.sqrt(_mean((rows - _mean(rows, weights)) ** 2, weights))
    if scaling == "global":
        return np.full(spread.shape, max(float(np.sqrt((spread**2).sum())), 1e-12))
    return np.where(spread > 1e-6, spread, 1.0)


def _mean_by_slice(
    features: FloatArray, slices: BoolArray, weights: DoubleArray | None
) -> DoubleArray:
    """Average the training slices of each position, shape (n_slices, n_features)."""
    empty = np.flatnonzero(~slices.any(axis=0))
    if len(empty):
        raise HeadError(
            "no training scan has a slice to train on at some heights",
            where=f"slices {', '.join(map(str, empty))} of {slices.shape[1]}, the lowest being 0",
            expected="at least one training slice at every height",
            remedy="Train on more patients, or with fewer folds",
        )
    if weights is not None:
        return np.stack(
            [
                np.average(features[seen, s].astype(np.float64), axis=0, weights=weights[seen])
                for s, seen in enumerate(slices.T)
            ]
        )
    return np.stack(
        [features[slices[:, s], s].mean(axis=0, dtype=np.float64) for s in range(features.shape[1])]
    )


def _slice_biases(
    raw: DoubleArray, intercept: float, zone_mean: DoubleArray, slice_mean: DoubleArray
) -> DoubleArray:
    """Return a bias a slice, such that an average slice of each height says the intercept.

    Features change with the height in the brain whoever's brain it is. Without this a slice's
    score would tell its height; the mean over the slices, the patient's, is the same with it.
    """
    zone = zone_of_slices(len(slice_mean), len(raw))
    height = (raw[zone] * slice_mean).sum(axis=1)
    for k in range(len(raw)):
        height[zone == k] -= height[zone == k].mean()
    biases: DoubleArray = intercept - (raw * zone_mean).sum(axis=1)[zone] - height
    return biases


def solve_rows(
    rows: DoubleArray,
    labels: IntArray,
    spec: LinearHeadSpec,
    *,
    n_slices: int,
    offsets: DoubleArray | None = None,
    weights: DoubleArray | None = None,
    overwrite_rows: bool = False,
) -> tuple[DoubleArray, float]:
    """Fit the logistic regression of patients, averaged over the penalties.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_patients, zones, n_features)
        Of `patient_rows`.
    labels : ndarray of {0, 1}, shape (n_patients,)
    spec : LinearHeadSpec
    n_slices : int
    offsets : ndarray of float64, shape (n_patients,), optional
        Log-odds that are there already; what is fitted comes on top of them.
    weights : ndarray of float64, shape (n_patients,), optional
        How much each patient counts; not with `offsets`.
    overwrite_rows : bool
        Standardise `rows` in place: of a large cohort a copy is half a gigabyte.

    Returns
    -------
    weight : ndarray of float64, shape (zones, n_features)
        Of one slice: a zone's slices carry the zone's weight in the mean over all slices.
    intercept : float
        For patients at the mean of `rows`.
    """
    mean, deviation = _mean(rows, weights), _deviation(rows, spec.scaling, weights)
    n_zones = rows.shape[1]
    share = n_slices / np.bincount(zone_of_slices(n_slices, n_zones), minlength=n_zones)
    centred = np.subtract(rows, mean, out=rows if overwrite_rows else None)
    scaled = np.divide(centred, deviation, out=centred).reshape(len(centred), -1)
    # With an L2 penalty the solution lies in the span of the rows. In a basis of that span
    # there are no more unknowns than patients, however many features there are. Of many more
    # patients than features the basis would take longer to find than the solution.
    # Threads cost more than they save on a problem this small, and round by their number.
    with algebra_on_one_core():
        rotated, basis = scaled, None
        if len(scaled) <= max(_MANY_PATIENTS, scaled.shape[1]):
            left, lengths, basis = np.linalg.svd(scaled, full_matrices=False)
            rotated = left * lengths
        solved = [
            _solve(rotated, labels, inverse_l2, balanced=spec.balanced, weights=weights)
            if offsets is None
            else _solve_beside(rotated, labels, offsets, inverse_l2, balanced=spec.balanced)
            for inverse_l2 in spec.inverse_l2
        ]
        slopes = np.mean([w for w, _ in solved], axis=0)
        weight = (slopes if basis is None else slopes @ basis).reshape(mean.shape)
    return share[:, None] * weight / deviation, float(np.mean([b for _, b in solved]))


def _solve(
    coordinates: DoubleArray,
    values: IntArray,
    inverse_l2: float,
    *,
    balanced: bool,
    weights: DoubleArray | None,
) -> tuple[DoubleArray, float]:
    from sklearn.linear_model import LogisticRegression

    if weights is not None and balanced:
        # Scikit-learn's `balanced` counts patients, whatever they weigh.
        counts = np.bincount(values, weights=weights, minlength=2)
        weights = weights * (weights.sum() / (2 * counts[values]))
    model = LogisticRegression(
        C=inverse_l2,
        class_weight="balanced" if balanced and weights is None else None,
        max_iter=5000,
        tol=1e-6,
    ).fit(coordinates, values, sample_weight=weights)
    return model.coef_[0], float(model.intercept_[0])


def _solve_beside(
    coordinates: DoubleArray,
    values: IntArray,
    offsets: DoubleArray,
    inverse_l2: float,
    *,
    balanced: bool,
) -> tuple[DoubleArray, float]:
    """Solve the same problem with log-odds that are given, which scikit-learn cannot be told of.

    Half the squared slopes plus the weighted log loss; the intercept is free.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    counts = np.bincount(values, minlength=2)
    weights = np.full(len(values), inverse_l2)
    if balanced:
        weights *= len(values) / (2 * counts[values])
    design = np.column_stack([coordinates, np.ones(len(values))])
    penalised = np.append(np.ones(coordinates.shape[1]), 0.0)

    def loss(beta: DoubleArray) -> tuple[float, DoubleArray]:
        odds = offsets + design @ beta
        value = (
            0.5 * (penalised * beta**2).sum()
            + (weights * (np.logaddexp(0.0, odds) - values * odds)).sum()
        )
        return float(value), penalised * beta + design.T @ (weights * (expit(odds) - values))

    start = np.zeros(design.shape[1])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "gtol": 1e-8}
    ).x
    return found[:-1], float(found[-1])
