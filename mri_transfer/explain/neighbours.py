"""Nearest training patients: who, of those a head was fitted on, looks most like a patient to it.

Distance is between patients' mean features, each feature divided by its spread over the training
patients; a root mean square over features, so that it does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.explain.cohort_maps import patient_means
from mri_transfer.explain.explanation import NEIGHBOUR_COLUMNS
from mri_transfer.explain.regions import mean_over_patients
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads.head import training_moments
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds

__all__ = ["nearest_patients", "neighbour_agreement"]

#: With so many training patients all distances are computed in full.
_FEW = 1000
#: Patients looked at again beyond those asked for, and patients compared at once.
_MORE, _BLOCK = 20, 256


def nearest_patients(
    trained: Sequence[FittedModel], tables: Mapping[str, FeatureTable], folds: Folds, *, n: int
) -> pd.DataFrame:
    """Find the training patients nearest to each held-out patient, repeat by repeat.

    Parameters
    ----------
    trained : sequence of FittedModel
    tables : mapping of str to FeatureTable
        By what models read (`FittedModel.reads`).
    folds : Folds
    n : int
        Neighbours listed; fewer where a fold has fewer training patients.

    Returns
    -------
    DataFrame
        `NEIGHBOUR_COLUMNS`; `label` is the neighbour's. Sorted by repeat, patient and rank.
    """
    label_of = dict(zip(folds.patient_ids, folds.labels, strict=True))
    rows: list[tuple[Any, ...]] = []
    # Heads of one repeat after another read the same features, unless they harmonise them.
    known: dict[str, tuple[tuple[str, ...], npt.NDArray[np.float32]]] = {}
    for one in trained:
        if one.harmoniser is not None or one.reads not in known:
            known = {one.reads: _patients(one, tables[one.reads])}
        names, means = known[one.reads]
        fold_of = dict(zip(folds.patient_ids, folds.assignment[one.repeat], strict=True))
        held = np.array([fold_of[name] == one.fold for name in names])
        mean, deviation = training_moments(means, ~held)
        scaled = ((means - mean) / deviation).astype(np.float64)
        train, own = np.flatnonzero(~held), np.flatnonzero(held)
        for i, near_to in zip(own, _near(scaled, own, train, n), strict=True):
            distance = np.sqrt(((scaled[near_to] - scaled[i]) ** 2).mean(axis=1))
            for rank, k in enumerate(np.argsort(distance, kind="stable")[:n], start=1):
                near = names[near_to[k]]
                rows.append((one.repeat, names[i], rank, near, label_of[near], float(distance[k])))
    table = pd.DataFrame(rows, columns=list(NEIGHBOUR_COLUMNS))
    return table.sort_values(["repeat", "patient_id", "rank"], ignore_index=True)


def _near(
    scaled: npt.NDArray[np.float64],
    held: npt.NDArray[np.int64],
    train: npt.NDArray[np.int64],
    n: int,
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield, for each patient held out, training patients among whom the n nearest are.

    All of them, or of a large cohort a few more than n: squared lengths and one product of matrices
    give distances to six digits, and only the nearest by these are looked at again.
    """
    if len(train) <= _FEW:
        yield from (train for _ in held)
        return
    rows = scaled.astype(np.float32)
    others = rows[train]
    half = np.einsum("ij,ij->i", others, others) / 2
    for start in range(0, len(held), _BLOCK):
        closeness = rows[held[start : start + _BLOCK]] @ others.T - half
        k = min(n + _MORE, len(train))
        for nearest in np.argpartition(-closeness, k - 1, axis=1)[:, :k]:
            yield train[np.sort(nearest)]


def _patients(
    one: FittedModel, table: FeatureTable
) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    features = table.features
    if one.harmoniser is not None:
        features = one.harmoniser.apply(features, table.patient_ids)
    names, means = patient_means(features.mean(axis=1), table.patient_ids)
    return names, means.astype(np.float32)


def neighbour_agreement(
    neighbours: pd.DataFrame, folds: Folds, *, n_samples: int, seed: int, confidence: float
) -> list[dict[str, Any]]:
    """Return, for each label, the share of neighbours that carry the patient's own label.

    Parameters
    ----------
    neighbours : DataFrame
        Of `nearest_patients`.
    folds : Folds
    n_samples, seed, confidence
        Of the bootstrap over patients.

    Returns
    -------
    list of dict
        label, n_patients, share (an estimate), by_chance (the label's share in the cohort).
    """
    label_of = dict(zip(folds.patient_ids, folds.labels, strict=True))
    own = neighbours["patient_id"].map(label_of)
    same = (neighbours["label"] == own).groupby(neighbours["patient_id"]).mean()
    found = []
    for label in sorted(set(folds.labels)):
        members = [name for name in same.index if label_of[name] == label]
        values: npt.NDArray[np.float64] = same[members].to_numpy().astype(np.float64)
        share = mean_over_patients(values, n_samples=n_samples, seed=seed, confidence=confidence)
        n_label = list(folds.labels).count(label)
        found.append(
            {
                "label": label,
                "n_patients": len(values),
                "share": share,
                "by_chance": n_label / len(folds.labels),
            }
        )
    return found
