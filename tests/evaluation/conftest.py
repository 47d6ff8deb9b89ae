"""A synthetic cohort in the shape of a run's tables, for every test of the evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from mri_transfer.training.folds import make_folds
from mri_transfer.training.settings import FoldSpec


@dataclass
class Cohort:
    patients: pd.DataFrame
    folds: pd.DataFrame
    patient_scores: pd.DataFrame
    slice_scores: pd.DataFrame
    thresholds: dict[tuple[int, int], float]


def make_cohort(
    n_per_label: int = 20,
    *,
    n_repeats: int = 2,
    n_folds: int = 4,
    n_slices: int = 6,
    effect: float = 1.0,
    seed: int = 0,
) -> Cohort:
    rng = np.random.default_rng(seed)
    ids = [f"p{number:03d}" for number in range(2 * n_per_label)]
    positive = np.arange(2 * n_per_label) % 2 == 1
    labels = np.where(positive, "AD", "CN")
    patients = pd.DataFrame(
        {
            "label": labels,
            "age": 72 + 3 * positive + 6 * rng.standard_normal(len(ids)),
            "sex": rng.choice(["F", "M"], len(ids)),
            "nwbv": 0.75 - 0.02 * positive + 0.03 * rng.standard_normal(len(ids)),
            "site": "one",
            "mmse": 29.0 - 8 * positive,
        },
        index=pd.Index(ids, name="patient_id"),
    )
    spec = FoldSpec(n_folds=n_folds, n_repeats=n_repeats)
    folds = make_folds(ids, list(labels), spec=spec, seed=seed).table()
    latent = dict(zip(ids, effect * (positive - 0.5) + rng.standard_normal(len(ids)), strict=True))
    rows, slices = [], []
    for repeat, patient, fold, label in folds.itertuples(index=False):
        logits = latent[patient] + 0.5 * rng.standard_normal(n_slices)
        score = 1 / (1 + np.exp(-logits.mean()))
        predicted = "AD" if score >= 0.5 else "CN"
        rows.append((repeat, fold, patient, label, score, predicted, n_slices))
        for number, logit in enumerate(logits):
            place = (repeat, fold, patient, f"{patient}_s1", number, float(number))
            slices.append((*place, 1 / (1 + np.exp(-logit))))
    return Cohort(
        patients=patients,
        folds=folds,
        patient_scores=pd.DataFrame(
            rows,
            columns=["repeat", "fold", "patient_id", "label", "score", "predicted", "n_slices"],
        ),
        slice_scores=pd.DataFrame(
            slices, columns=["repeat", "fold", "patient_id", "scan_id", "slice", "z_mm", "score"]
        ),
        thresholds={(r, f): 0.5 for r in range(n_repeats) for f in range(n_folds)},
    )


@pytest.fixture
def cohort() -> Cohort:
    return make_cohort()


@pytest.fixture(scope="session")
def cohort_factory() -> Callable[..., Cohort]:
    return make_cohort
