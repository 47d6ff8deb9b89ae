"""Linear heads of large cohorts, fitted to the means of zones instead of slices.

A linear head that joins slices by their mean log-odds reads nothing of a patient but the mean of
each zone of heights. Where a cohort's features would not fit into memory several times, its heads
are fitted to a table with one row a zone. The heads are the same up to the rounding of single
precision; what a slice says at its height follows from one more pass over the training scans.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads.linear_fit import zone_of_slices
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.engine import FoldResult
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.fitted_model import FittedModel, infer
from mri_transfer.training.one_fit import FitRequest

__all__ = ["at_heights", "fitted_zones", "zone_means", "zones_enough"]

FloatArray = npt.NDArray[np.float64]

#: Numbers of a table from which on it is not copied for every fold: half a gigabyte.
MANY_NUMBERS = 2**27
#: Scans averaged at once.
_SCANS = 512


def fitted_zones(estimator: TransferClassifier, data: LabelledFeatures) -> int | None:
    """Return into how many zones a large cohort's features can be averaged; None if they cannot.

    They can for linear heads on features as they are, with nothing searched and zones of equally
    many slices.
    """
    features = data.scans.features
    if data.instances is not None:
        return None
    return zones_enough(
        estimator.request(n_slices=features.shape[1]), features.size, n_slices=features.shape[1]
    )


def zones_enough(request: FitRequest, n_numbers: int, *, n_slices: int) -> int | None:
    """Return the same of a table with so many features.

    Parameters
    ----------
    request : FitRequest
    n_numbers, n_slices : int
        Of the table.
    """
    chosen = request.hyperparameters
    plain = (
        chosen.head.kind == "linear"
        and chosen.joining == "mean_logit"
        and request.harmonisation.kind == "none"
        and request.tail is None
        and not request.searches
    )
    if not plain or n_numbers < MANY_NUMBERS:
        return None
    zones = int(getattr(chosen.head, "zones", 1))
    return zones if n_slices % zones == 0 else None


def zone_means(data: LabelledFeatures, zones: int) -> LabelledFeatures:
    """Return the same patients with the mean of each zone in place of its slices."""
    tables = {name: _averaged(table, zones) for name, table in data.tables.items()}
    return dataclasses.replace(data, tables=tables)


def _averaged(table: FeatureTable, zones: int) -> FeatureTable:
    n_scans, n_slices, n_features = table.features.shape
    means = np.empty((n_scans, zones, n_features), dtype=np.float32)
    for start in range(0, n_scans, _SCANS):
        part = table.features[start : start + _SCANS]
        parts = part.reshape(len(part), zones, n_slices // zones, n_features)
        means[start : start + _SCANS] = parts.mean(axis=2, dtype=np.float64)
    heights = table.z_mm.reshape(n_scans, zones, n_slices // zones).mean(axis=2)
    return dataclasses.replace(table, features=means, z_mm=heights)


def at_heights(result: FoldResult, data: LabelledFeatures) -> FoldResult:
    """Return a fit to means of zones as a model of slices, with what it says of those held out.

    Parameters
    ----------
    result : FoldResult
        Of `zone_means(data, ...)`.
    data : LabelledFeatures
        With all slices.
    """
    names = np.array(data.patient_ids, dtype=object)
    model = _by_slice(result.fit.model, data, set(names[result.outer.train].tolist()))
    return dataclasses.replace(
        result,
        fit=dataclasses.replace(result.fit, model=model),
        held_out=infer(model, data.tables, names[result.outer.test].tolist()),
    )


def _by_slice(model: FittedModel, data: LabelledFeatures, training: set[str]) -> FittedModel:
    """Give every slice a bias, such that an average slice of each height says the same."""
    table = data.tables[model.pooling]
    weight, bias = (model.head.tensors[name].astype(np.float64) for name in ("weight", "bias"))
    means = _slice_means(table, training)
    zone = zone_of_slices(len(means), len(weight))
    height = (weight[zone] * means).sum(axis=1)
    for k in range(len(weight)):
        height[zone == k] -= height[zone == k].mean()
    tensors = {**model.head.tensors, "bias": (bias[zone] - height).astype(np.float32)}
    return dataclasses.replace(model, head=dataclasses.replace(model.head, tensors=tensors))


def _slice_means(table: FeatureTable, training: set[str]) -> FloatArray:
    """Average the training scans at each slice position, shape (n_slices, n_features)."""
    keys = zip(table.patient_ids, table.scan_ids, strict=True)
    # Sums over scans then do not depend on the order of a manifest's rows.
    rows = [i for _, i in sorted((key, i) for i, key in enumerate(keys) if key[0] in training)]
    sums: FloatArray = np.zeros(table.features.shape[1:])
    for start in range(0, len(rows), _SCANS):
        sums += table.features[rows[start : start + _SCANS]].sum(axis=0, dtype=np.float64)
    return sums / len(rows)
