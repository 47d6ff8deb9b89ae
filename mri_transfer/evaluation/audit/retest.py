"""Test and retest: how far a patient's score depends on the session it was measured in.

Two scans of one patient, taken a short time apart, should get the same score from heads that saw
neither. Repeats of a cross-validation score the same scans again: their mean squares, differences
and flips are averaged, and every interval counts patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mri_transfer.core.arrays import FloatArray, TextArray
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.audit.agreement import (
    MeanSquares,
    icc_absolute,
    icc_one_way,
    limits_of_agreement,
)
from mri_transfer.evaluation.audit.document import Retest
from mri_transfer.evaluation.tables import demand_columns
from mri_transfer.metrics.intervals import bootstrap_mean, exact_proportion, undefined
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureTable
from mri_transfer.training.fitted_model import FittedModel, infer
from mri_transfer.training.folds import Folds

__all__ = ["retest", "scan_scores"]


_COLUMNS = ("patient_id", "scan_id", "repeat", "score", "predicted")
#: Fewer patients leave nothing to estimate a spread from.
_MIN_PATIENTS = 3
_NAMES = (
    "icc",
    "icc_one_way",
    "mean_difference",
    "lower_limit",
    "upper_limit",
    "flip_rate",
    "mean_absolute_difference",
)


def scan_scores(
    trained: Sequence[FittedModel],
    tables: Mapping[str, FeatureTable],
    folds: Folds,
    *,
    positive_label: str,
    negative_label: str,
    activations: ActivationTable | None = None,
) -> pd.DataFrame:
    """Score every scan by itself, with the heads that held its patient out.

    Models with a tail need the activations, in the order of the tables.

    Returns
    -------
    DataFrame
        Columns patient_id, scan_id, repeat, score, predicted.
    """
    rows = []
    for model in trained:
        table = tables[model.pooling]
        fold_of = dict(zip(folds.patient_ids, folds.assignment[model.repeat], strict=True))
        names = [name for name, fold in fold_of.items() if fold == model.fold]
        if set(names).isdisjoint(table.patient_ids):
            continue
        found = infer(model, tables, names, activations=activations)
        patient_of = {table.scan_ids[i]: table.patient_ids[i] for i in found.scans}
        # As if each scan were a patient: nothing is joined but its slices.
        for scan_id, score in model.patients(found.output, list(patient_of)).items():
            predicted = positive_label if score >= model.threshold else negative_label
            rows.append((patient_of[scan_id], scan_id, model.repeat, score, predicted))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def retest(
    scores_by_scan: pd.DataFrame, *, n_samples: int, seed: int, confidence: float = 0.95
) -> Retest:
    """Compare the first two scans of every patient who has two or more.

    Parameters
    ----------
    scores_by_scan : DataFrame
        Columns patient_id, scan_id, repeat, score, predicted; a row a scan and repeat. A
        patient's scans are taken in the order of their ids.
    n_samples : int
        Resamples of patients behind the interval of the mean absolute difference.
    seed : int
    confidence : float

    Returns
    -------
    Retest
        Without values, with the reason, if fewer than three patients have two scans.

    Raises
    ------
    EvaluationError
        If a column is missing, or a scan lacks a repeat or has one twice.
    """
    scores, calls, n_more = _pairs(scores_by_scan)
    n = scores.shape[1]
    if n < _MIN_PATIENTS:
        reason = f"{n or 'no'} patient{'s' if n > 1 else ''} with two scans; {_MIN_PATIENTS} needed"
        figures = dict.fromkeys(_NAMES, undefined(reason, n=n))
    else:
        squares = MeanSquares.of(scores)
        difference = scores[:, :, 1] - scores[:, :, 0]
        size = np.abs(difference).mean(axis=0)
        flips = float((calls[:, :, 0] != calls[:, :, 1]).mean(axis=0).sum())
        figures = {
            "icc": icc_absolute(squares, confidence=confidence),
            "icc_one_way": icc_one_way(squares, confidence=confidence),
            **limits_of_agreement(difference, confidence=confidence),
            "flip_rate": exact_proportion(
                flips, n, confidence=confidence, averaged=len(scores) > 1
            ),
            "mean_absolute_difference": bootstrap_mean(
                size,
                n_samples=n_samples,
                rng=np.random.default_rng(seed),
                confidence=confidence,
            ),
        }
    return Retest(n_patients=n, n_more=n_more, **figures)


def _pairs(table: pd.DataFrame) -> tuple[FloatArray, TextArray, int]:
    """Return scores and calls of the first two scans, shape (n_repeats, n, 2)."""
    demand_columns(table, _COLUMNS, "scans' scores", error=EvaluationError)
    scans = (
        table[["patient_id", "scan_id"]].drop_duplicates().sort_values(["patient_id", "scan_id"])
    )
    counts = scans.groupby("patient_id")["scan_id"].size()
    several = scans[scans["patient_id"].isin(counts.index[counts >= 2])]
    pairs = several.groupby("patient_id").head(2)["scan_id"].tolist()
    repeats = sorted(set(table["repeat"]))
    wanted = table[table["scan_id"].isin(pairs)]
    if len(wanted) != len(repeats) * len(pairs) or wanted.duplicated(["scan_id", "repeat"]).any():
        raise EvaluationError(
            "every scan needs one score in each repeat",
            found=f"{len(wanted)} scores",
            expected=f"{len(repeats)} repeats of {len(pairs)} scans",
        )
    indexed = wanted.set_index(["repeat", "scan_id"])
    order = pd.MultiIndex.from_product([repeats, pairs], names=["repeat", "scan_id"])
    shape = (len(repeats), len(pairs) // 2, 2)
    chosen = indexed.reindex(order)
    return (
        chosen["score"].to_numpy(dtype=np.float64).reshape(shape),
        chosen["predicted"].to_numpy(dtype=object).reshape(shape),
        int((counts > 2).sum()),
    )
