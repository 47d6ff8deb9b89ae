"""FeatureDensity: where training patients lie among all features, without anybody's features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FOLDS", "FeatureDensity", "compressed", "learn_density"]

#: Number of parts in which the training patients are held out, one after another.
FOLDS = 10

_MAX_COMPONENTS = 20
_PATIENTS_PER_COMPONENT = 5

FloatArray = npt.NDArray[np.floating[Any]]
DoubleArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FeatureDensity:
    """The distribution of training patients' features; it contains no single patient's features.

    Attributes
    ----------
    tensors : mapping of str to ndarray of float64
        `mean` (n_features,); `components` (n_components, n_features), the principal axes of the
        patients' mean features; `deviation` (n_components,) along them; `residual` (1,), the root
        mean square of what they leave over; `distances` (n_patients,), rising: how far training
        patients lie from a density learned without them.
    """

    tensors: Mapping[str, FloatArray]

    def distance(self, means: FloatArray) -> DoubleArray:
        """Return the distance of patients from the training patients' centre.

        Parameters
        ----------
        means : ndarray, shape (n_patients, n_features)
            Mean features over a patient's slices.

        Returns
        -------
        ndarray of float64, shape (n_patients,)
            Mahalanobis distance along the principal axes, and of the rest as one further axis.
        """
        return _distance(self.tensors, np.asarray(means, dtype=np.float64))

    def p_value(self, means: FloatArray) -> DoubleArray:
        """Return the conformal p value of patients: small where there are no training patients.

        The share of patients, the new one counted among the training ones, that lie as far out or
        farther (Laxhammar and Falkman 2010, conformal anomaly detection). Patients like those
        trained on fall below p with a probability of about p.

        Parameters
        ----------
        means : ndarray, shape (n_patients, n_features)

        Returns
        -------
        ndarray of float64, shape (n_patients,)
            1 / (n_training + 1) to 1.
        """
        known = self.tensors["distances"]
        beyond = len(known) - np.searchsorted(known, self.distance(means), side="left")
        return np.asarray((beyond + 1) / (len(known) + 1), dtype=np.float64)


def learn_density(means: FloatArray) -> FeatureDensity:
    """Learn the density, and the distance of each patient from a density that had not seen it.

    Parameters
    ----------
    means : ndarray, shape (n_patients, n_features)
    """
    rows = np.asarray(means, dtype=np.float64)
    fold = np.arange(len(rows)) % min(FOLDS, len(rows))
    # The same number of axes every time, since each adds to a distance.
    fewest = len(rows) - int(np.bincount(fold).max())
    n_axes = max(1, min(_MAX_COMPONENTS, fewest // _PATIENTS_PER_COMPONENT))
    held_out = np.concatenate(
        [_distance(_gaussian(rows[fold != k], n_axes), rows[fold == k]) for k in np.unique(fold)]
    )
    return FeatureDensity(tensors={**_gaussian(rows, n_axes), "distances": np.sort(held_out)})


def compressed(means: FloatArray) -> DoubleArray:
    """Return rows with at most as many columns as rows, and the same distances.

    Parameters
    ----------
    means : ndarray, shape (n_patients, n_features)
    """
    rows = np.asarray(means, dtype=np.float64)
    if rows.shape[1] <= len(rows):
        return rows
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        left, lengths, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return np.asarray(left * lengths, dtype=np.float64)


def _gaussian(rows: DoubleArray, n_components: int) -> dict[str, DoubleArray]:
    from threadpoolctl import threadpool_limits

    mean = rows.mean(axis=0)
    # One thread sums in the same order on any number of cores.
    with threadpool_limits(limits=1):
        _, lengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
        kept = axes[:n_components]
    spread = lengths / np.sqrt(max(len(rows) - 1, 1))
    left = float(np.sqrt(np.square(spread[n_components:]).sum()))
    tiny = max(float(spread.max(initial=0.0)) * 1e-6, 1e-12)
    return {
        "mean": mean,
        # The sign of an axis is arbitrary; its largest entry is made positive.
        "components": kept * np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(1)])[:, None],
        "deviation": np.maximum(spread[:n_components], tiny),
        "residual": np.array([max(left, tiny)]),
    }


def _distance(tensors: Mapping[str, FloatArray], rows: DoubleArray) -> DoubleArray:
    centred = rows - tensors["mean"]
    along = centred @ tensors["components"].T
    rest = np.square(centred).sum(axis=1) - np.square(along).sum(axis=1)
    squares = np.square(along / tensors["deviation"]).sum(axis=1)
    squares += np.maximum(rest, 0.0) / tensors["residual"][0] ** 2
    distances: DoubleArray = np.sqrt(squares)
    return distances
