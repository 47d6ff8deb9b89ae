"""A made-up run for tests of the audit: a tiny procedure that can be told to leak, and its records.

The procedure is written here from the beginning, so that the checks are tested against something
that owes nothing to the library's own cross-validation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mri_transfer.evaluation.audit.checks import CheckResult
from mri_transfer.metrics.discrimination import youden_threshold
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import Head
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds
from tests.synthetic import feature_table, folds_of

#: Steps that a leaky procedure may take with the test patients in view.
STEPS = ("harmonisation", "scaler", "selection", "threshold", "inner scores")


def cohort(*, two_sessions: int = 0) -> tuple[FeatureTable, Folds]:
    """Return features of 24 patients and their folds."""
    table, labels = feature_table(
        n_patients=24, n_slices=4, n_features=12, two_sessions=two_sessions
    )
    return table, folds_of(table, labels)


def reader(table: FeatureTable) -> Callable[..., dict[str, FeatureTable]]:
    """Return what reads a table afresh, in another order if asked to."""

    def read(*, order_seed: int | None = None) -> dict[str, FeatureTable]:
        order = np.arange(len(table.scan_ids))
        if order_seed is not None:
            order = np.random.default_rng(order_seed).permutation(order)
        return {"max": table.rows(order.tolist())}

    return read


def procedure(leak: str | None = None) -> Callable[..., FittedModel]:
    """Return a refit function: harmonise, scale, select features, weigh, choose a threshold."""
    assert leak is None or leak in STEPS

    def refit(read, folds: Folds, place: tuple[int, int]) -> FittedModel:
        table = read()["max"]
        labels = np.array([int(label == "AD") for label in folds.labels])
        train = folds.assignment[place[0]] != place[1]
        everybody = np.ones_like(train)
        seen = {step: everybody if step == leak else train for step in STEPS}
        rows = _patient_means(table, folds.patient_ids)
        site = np.arange(len(rows)) % 3
        for one in range(3):
            rows[site == one] -= rows[seen["harmonisation"] & (site == one)].mean(axis=0)
        fit = seen["scaler"]
        rows = (rows - rows[fit].mean(axis=0)) / rows[fit].std(axis=0)
        selected = np.argsort(-np.abs(_contrast(rows, labels, seen["selection"])))[:4]
        weight = np.zeros(rows.shape[1])
        weight[selected] = _contrast(rows, labels, train)[selected]
        scores = rows @ weight
        fit = seen["threshold"]
        facts = {
            "repeat": place[0],
            "fold": place[1],
            "threshold": float(youden_threshold(labels[fit], scores[fit])),
            "threshold_from": f"Youden's index on {'all' if leak == 'threshold' else 'training'} "
            "patients",
            "recalibration": {"centre": float(scores[seen["inner scores"]].mean())},
            "training_patients": [
                name for name, own in zip(folds.patient_ids, train, strict=True) if own
            ],
            "training_scans": {
                scan: sha256
                for scan, owner, sha256 in sorted(
                    zip(table.scan_ids, table.patient_ids, table.scan_sha256, strict=True)
                )
                if train[folds.patient_ids.index(owner)]
            },
        }
        head = Head(kind="tiny", tensors={"weight": weight.astype(np.float32)}, facts=facts)
        return FittedModel(repeat=place[0], fold=place[1], head=head)

    return refit


def _patient_means(table: FeatureTable, names: tuple[str, ...]) -> np.ndarray:
    scans: dict[str, list[np.ndarray]] = {name: [] for name in names}
    # In the order of their names, so that the order of rows has no part in the sums.
    for i in np.argsort(table.scan_ids):
        scans[table.patient_ids[i]].append(table.features[i].astype(np.float64).mean(axis=0))
    return np.stack([np.mean(scans[name], axis=0) for name in names])


def _contrast(rows: np.ndarray, labels: np.ndarray, fit: np.ndarray) -> np.ndarray:
    return rows[fit & (labels == 1)].mean(axis=0) - rows[fit & (labels == 0)].mean(axis=0)


def records(table: FeatureTable, folds: Folds) -> dict:
    """Return what a clean run leaves, as `check_provenance` takes it."""
    frame = folds.table()
    features = pd.DataFrame(
        {
            "scan_id": table.scan_ids,
            "patient_id": table.patient_ids,
            "scan_sha256": table.scan_sha256,
        }
    )
    patients = frame[["repeat", "fold", "patient_id"]].copy()
    refit = procedure()
    places = [(one.repeat, one.fold) for one in folds]
    return {
        "facts": {place: dict(refit(reader(table), folds, place).head.facts) for place in places},
        "folds": frame,
        "features": features,
        "patients": patients,
        "slices": patients.merge(features[["scan_id", "patient_id"]], on="patient_id"),
        "inner": pd.DataFrame(
            [(*place, name) for place, names in _training(folds).items() for name in names],
            columns=["repeat", "fold", "patient_id"],
        ),
    }


def _training(folds: Folds) -> dict[tuple[int, int], list[str]]:
    return {(one.repeat, one.fold): [folds.patient_ids[i] for i in one.train] for one in folds}


def failed(checks: list[CheckResult]) -> set[str]:
    """Return the names of checks that did not pass."""
    return {check.check for check in checks if not check.passed}
