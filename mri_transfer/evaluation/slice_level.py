"""Figures that count slices. They are reported beside the patient's, never instead of them.

Studies that split slices publish such figures, so they are needed for comparison. Their values
weigh each slice the same; their intervals resample patients, because the slices of one patient
are anything but independent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray
from mri_transfer.errors import PredictionError
from mri_transfer.evaluation.tables import ScoreArrays, demand_columns
from mri_transfer.metrics.discrimination import patient_weights
from mri_transfer.metrics.intervals import Estimate, patient_bootstrap, undefined
from mri_transfer.metrics.ranked_pairs import RankedPairs, is_many, pair_sums

__all__ = ["slice_metrics"]


#: Slices are called positive from here on, as in the studies compared with.
SLICE_THRESHOLD = 0.5

_COLUMNS = ("repeat", "fold", "patient_id", "scan_id", "slice", "score")
_NAMES = ("accuracy", "auc", "balanced_accuracy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sums:
    """Per repeat and patient: slices, slices classified correctly, and pairs of slices won."""

    total: FloatArray
    right: FloatArray
    won: tuple[FloatArray | RankedPairs, ...]


def slice_metrics(
    slice_scores: pd.DataFrame | None,
    arrays: ScoreArrays,
    *,
    n_samples: int,
    rng: Callable[[str], np.random.Generator],
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """Return accuracy and balanced accuracy at 0.5, and AUC, of slices.

    Parameters
    ----------
    slice_scores : DataFrame or None
        Columns repeat, fold, patient_id, scan_id, slice, score. None for a head that scores
        patients only: every figure is then undefined.
    arrays : ScoreArrays
        The patients, their labels and folds.
    n_samples : int
    rng : callable
        Gives the generator of a figure by its name.
    confidence : float

    Returns
    -------
    dict of str to Estimate
        Mean over repeats; `n` counts slices of one repeat.

    Raises
    ------
    PredictionError
        If a slice is scored twice in a repeat, a score lies outside 0 to 1, or patients or folds
        differ from those of the patient scores.
    """
    if slice_scores is None:
        reason = "the head gives no scores of slices"
        return {name: undefined(reason, n=0, method="none") for name in _NAMES}
    _check(slice_scores, arrays)
    sums = _sums(slice_scores, arrays)
    n_slices = float(sums.total.sum(axis=1).mean())
    positive = arrays.positive

    def accuracy(weights: FloatArray) -> FloatArray:
        return _mean_ratio(weights, sums.right, sums.total, np.ones_like(positive))

    def balanced(weights: FloatArray) -> FloatArray:
        halves = [
            _mean_ratio(weights, sums.right, sums.total, part) for part in (positive, ~positive)
        ]
        return (halves[0] + halves[1]) / 2.0

    def area(weights: FloatArray) -> FloatArray:
        values = np.zeros(len(weights))
        upper, lower = weights[:, positive], weights[:, ~positive]
        for total, won in zip(sums.total, sums.won, strict=True):
            pairs = (upper @ total[positive]) * (lower @ total[~positive])
            values += pair_sums(won, upper, lower) / pairs
        return values / len(sums.total)

    statistics = {"accuracy": accuracy, "auc": area, "balanced_accuracy": balanced}
    return {
        name: _estimate(
            statistics[name], positive, n_slices, n_samples, rng(f"slice {name}"), confidence
        )
        for name in _NAMES
    }


def _estimate(
    statistic: Callable[[FloatArray], FloatArray],
    positive: BoolArray,
    n_slices: float,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> Estimate:
    return patient_bootstrap(
        lambda indices: statistic(patient_weights(indices, len(positive))),
        positive,
        n_samples=n_samples,
        rng=rng,
        confidence=confidence,
        batched=True,
        n=n_slices,
    )


def _mean_ratio(
    weights: FloatArray, top: FloatArray, bottom: FloatArray, part: BoolArray
) -> FloatArray:
    """Ratio of weighted sums over some patients, mean over repeats."""
    used = weights[:, part]
    return np.asarray(
        ((used @ top[:, part].T) / (used @ bottom[:, part].T)).mean(axis=1), dtype=np.float64
    )


def _check(table: pd.DataFrame, arrays: ScoreArrays) -> None:
    demand_columns(table, _COLUMNS, "slice scores")
    if table.duplicated(["repeat", "scan_id", "slice"]).any():
        raise PredictionError("a slice is scored twice in one repeat")
    score = table["score"].to_numpy(dtype=np.float64)
    if not ((score >= 0.0) & (score <= 1.0)).all():
        raise PredictionError("scores of slices must lie between 0 and 1")
    expected = {
        (repeat, name, int(fold))
        for repeat, row in zip(arrays.repeats, arrays.fold, strict=True)
        for name, fold in zip(arrays.patient_ids, row, strict=True)
    }
    pairs = table[["repeat", "patient_id", "fold"]].drop_duplicates()
    named = {(int(r), str(p), int(f)) for r, p, f in pairs.itertuples(index=False)}
    if named != expected:
        raise PredictionError(
            "scores of slices and of patients name different patients or folds",
            found=", ".join(sorted({str(entry[1]) for entry in named ^ expected})[:5]),
            remedy="Make both tables with the same run",
        )


def _sums(table: pd.DataFrame, arrays: ScoreArrays) -> _Sums:
    position = {name: i for i, name in enumerate(arrays.patient_ids)}
    n, repeats = arrays.n, len(arrays.repeats)
    total, right = np.zeros((repeats, n)), np.zeros((repeats, n))
    won = []
    for row, repeat in enumerate(arrays.repeats):
        part = table[table["repeat"] == repeat]
        patient_of: IntArray = np.array(
            [position[name] for name in part["patient_id"]], dtype=np.int64
        )
        score = part["score"].to_numpy(dtype=np.float64)
        hit = (score >= SLICE_THRESHOLD) == arrays.positive[patient_of]
        total[row] = np.bincount(patient_of, minlength=n)
        right[row] = np.bincount(patient_of, weights=hit, minlength=n)
        won.append(_won(patient_of, score, arrays.positive))
    return _Sums(total=total, right=right, won=tuple(won))


def _won(patient_of: IntArray, score: FloatArray, positive: BoolArray) -> FloatArray | RankedPairs:
    """Pairs of slices in which the positive patient's scores higher; ties count one half.

    Returns shape (n_positive, n_negative): a weighted AUC of slices is then a ratio of products
    of patients' weights with this matrix. Where pairs are many it is not made.
    """
    from_positive = positive[patient_of]
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if is_many(n_positive, n_negative):
        rank = np.where(positive, np.cumsum(positive), np.cumsum(~positive)) - 1
        return RankedPairs.of_slices(
            score[from_positive],
            score[~from_positive],
            rank[patient_of[from_positive]],
            rank[patient_of[~from_positive]],
            (n_positive, n_negative),
        )
    order = np.argsort(patient_of, kind="stable")
    patient_of, score = patient_of[order], score[order]
    from_positive = positive[patient_of]
    values = score[from_positive]
    starts = np.flatnonzero(np.diff(patient_of[from_positive], prepend=-1))
    columns = []
    for patient in np.flatnonzero(~positive):
        own = np.sort(score[patient_of == patient])
        beaten = np.searchsorted(own, values, side="left") + np.searchsorted(
            own, values, side="right"
        )
        columns.append(np.add.reduceat(beaten / 2.0, starts))
    return np.column_stack(columns)
