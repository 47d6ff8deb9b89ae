"""Proof that a way to adapt saw its labelled patients alone.

The way is followed twice: on the site as it is, and on the site with every other patient's label
flipped and scans exchanged. Labelled patients, which are the same both times, must give the same
bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.models.features import FeatureTable
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel

__all__ = ["demand_blind"]


def demand_blind(
    adapt: Callable[[LabelledFeatures], FittedModel],
    site: LabelledFeatures,
    labelled: Collection[str],
    *,
    seed: int = 0,
) -> None:
    """Refuse a way to adapt that depends on a patient who is not among the labelled ones.

    Parameters
    ----------
    adapt : callable
        Adapts to a site, of which it may read the labelled patients.
    site : LabelledFeatures
        All patients of the site.
    labelled : collection of str
    seed : int
        Of what the others' features are replaced by.

    Raises
    ------
    EvaluationError
        Naming the first tensor, or the record, that differs.
    """
    first = adapt(site)
    second = adapt(_with_others_changed(site, labelled, seed=seed))
    differing = [
        name
        for name, values in first.tensors.items()
        if not _same(values, second.tensors.get(name))
    ]
    if first.record.as_dict() != second.record.as_dict():
        differing.append("record")
    if differing:
        raise EvaluationError(
            "adaptation depends on patients who were to be scored only",
            found=f"{differing[0]} changes with their labels or scans",
            expected="the same bytes",
            remedy="Hand the way a view of the labelled patients and nothing else",
        )


def _with_others_changed(
    site: LabelledFeatures, labelled: Collection[str], *, seed: int
) -> LabelledFeatures:
    """Return the site with other patients' labels flipped and their features exchanged.

    Parameters
    ----------
    site : LabelledFeatures
    labelled : collection of str
        Who stays as they are.
    seed : int
        Of the noise that is added to the others' features; what lies at the cut is exchanged
        between them.
    """
    rng = np.random.default_rng(seed)
    others = [i for i, name in enumerate(site.scans.patient_ids) if name not in set(labelled)]
    labels = {
        name: label if name in set(labelled) else _other(site, label)
        for name, label in site.labels.items()
    }

    def changed(table: FeatureTable) -> FeatureTable:
        features = table.features.copy()
        features[others] += rng.normal(0, 10, features[others].shape).astype(np.float32)
        return dataclasses.replace(table, features=features)

    rows = list(range(len(site.scans.patient_ids)))
    for place, taken in zip(others, others[1:] + others[:1], strict=True):
        rows[place] = taken
    return dataclasses.replace(
        site,
        tables={name: changed(table) for name, table in site.tables.items()},
        labels=labels,
        activations=None if site.activations is None else site.activations.rows(rows),
    )


def _other(site: LabelledFeatures, label: str) -> str:
    return site.negative if label == site.positive else site.positive


def _same(one: npt.NDArray[Any], other: npt.NDArray[Any] | None) -> bool:
    return other is not None and one.tobytes() == other.tobytes()
