"""The tables of predictions, checked and turned into arrays of patients.

Whatever would make an evaluation meaningless is refused here, before any figure is computed: a
patient scored twice, a patient missing, a score outside 0 to 1, labels or folds that contradict
those of the cohort.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray
from mri_transfer.errors import EvaluationError, MriTransferError, PredictionError
from mri_transfer.metrics.scored import ScoredPatients
from mri_transfer.metrics.task import Task

__all__ = ["ScoreArrays", "check_patients", "demand_columns", "score_arrays"]


_PATIENT_COLUMNS = ("repeat", "fold", "patient_id", "label", "score", "predicted")

#: Scores and thresholds that went through a file may differ in the last digit.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreArrays:
    """Patient scores as arrays; patients in sorted order, repeats in rising order.

    Attributes
    ----------
    task : Task
    patient_ids : tuple of str
    repeats : tuple of int
        The repeat that each row of the arrays below belongs to.
    positive : ndarray of bool, shape (n,)
        True for the positive label.
    scores : ndarray of float64, shape (n_repeats, n)
    predicted : ndarray of bool, shape (n_repeats, n)
    fold : ndarray of int64, shape (n_repeats, n)
    """

    task: Task
    patient_ids: tuple[str, ...]
    repeats: tuple[int, ...]
    positive: BoolArray
    scores: FloatArray
    predicted: BoolArray
    fold: IntArray

    @property
    def n(self) -> int:
        """Number of patients."""
        return len(self.patient_ids)

    @functools.cached_property
    def scored(self) -> ScoredPatients:
        """Labels and scores as the metrics take them, checked once."""
        return ScoredPatients.of(self.positive, self.scores)

    @functools.cached_property
    def called(self) -> ScoredPatients:
        """The same patients with calls, 0 or 1, in place of scores."""
        return self.scored.rescored(self.predicted)


def score_arrays(
    patient_scores: pd.DataFrame,
    *,
    folds: pd.DataFrame,
    thresholds: Mapping[tuple[int, int], float],
    task: Task,
) -> ScoreArrays:
    """Check a table of patient scores and return it as arrays.

    Parameters
    ----------
    patient_scores : DataFrame
        Columns repeat, fold, patient_id, label, score, predicted.
    folds : DataFrame
        Columns repeat, patient_id, fold, label.
    thresholds : mapping of (repeat, fold) to float
    task : Task

    Raises
    ------
    PredictionError
        If rows contradict each other, the folds or the thresholds.
    EvaluationError
        If only one label occurs.
    """
    _check_rows(patient_scores)
    _check_labels(patient_scores, task)
    _check_folds(patient_scores, folds)
    wide = {
        name: patient_scores.pivot(index="repeat", columns="patient_id", values=name)
        .sort_index()
        .sort_index(axis=1)
        for name in ("score", "fold", "label", "predicted")
    }
    _check_complete(wide["fold"])
    label_rows = wide["label"].to_numpy(dtype=object)
    patient_ids = tuple(str(name) for name in wide["score"].columns)
    arrays = ScoreArrays(
        task=task,
        patient_ids=patient_ids,
        repeats=tuple(int(repeat) for repeat in wide["score"].index),
        positive=np.asarray(label_rows[0] == task.positive, dtype=bool),
        scores=wide["score"].to_numpy(dtype=np.float64),
        predicted=np.asarray(wide["predicted"].to_numpy(dtype=object) == task.positive, dtype=bool),
        fold=wide["fold"].to_numpy(dtype=np.int64),
    )
    _check_thresholds(arrays, thresholds)
    return arrays


def check_patients(patients: pd.DataFrame, arrays: ScoreArrays) -> pd.DataFrame:
    """Return the rows of the patient table that were scored, in the order of `arrays`.

    Raises
    ------
    PredictionError
        If a patient appears twice or not at all, or has another label than in the scores.
    """
    if not patients.index.is_unique:
        twice = sorted(set(patients.index[patients.index.duplicated()].astype(str)))
        raise PredictionError("a patient appears twice in the patient table", found=_few(twice))
    missing = sorted(set(arrays.patient_ids) - set(patients.index))
    if missing:
        raise PredictionError(
            "a scored patient is not in the patient table",
            found=_few(missing),
            remedy="Evaluate with the manifest that the scores were made from",
        )
    rows = patients.loc[list(arrays.patient_ids)]
    expected = np.where(arrays.positive, arrays.task.positive, arrays.task.negative)
    wrong = rows.index[rows["label"].to_numpy(dtype=object) != expected]
    if len(wrong):
        raise PredictionError(
            "the patient table gives another label than the scores", found=_few(list(wrong))
        )
    return rows


def demand_columns(
    table: pd.DataFrame,
    columns: Sequence[str],
    of: str,
    *,
    error: type[MriTransferError] = PredictionError,
) -> None:
    """Refuse a table that lacks a column, or raise `error` naming it and what the table is of."""
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise error(
            f"not a table of {of}",
            found=f"no column {', '.join(absent)}",
            expected=", ".join(columns),
        )


def _few(names: Sequence[object], limit: int = 5) -> str:
    shown = ", ".join(str(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _check_rows(table: pd.DataFrame) -> None:
    demand_columns(table, _PATIENT_COLUMNS, "patient scores")
    if table.empty:
        raise PredictionError("not a table of patient scores", found="no rows")
    twice = table.loc[table.duplicated(["repeat", "patient_id"]), "patient_id"]
    if len(twice):
        raise PredictionError(
            "a patient is scored twice in one repeat",
            found=_few(sorted(set(twice.astype(str)))),
            remedy="Each patient is held out by one fold of a repeat; check the folds",
        )
    score = table["score"].to_numpy(dtype=np.float64)
    bad = table.loc[~((score >= 0.0) & (score <= 1.0)), ["patient_id", "score"]]
    if len(bad):
        raise PredictionError(
            "scores must lie between 0 and 1",
            found=_few([f"{row.patient_id}: {row.score}" for row in bad.itertuples()]),
        )


def _check_labels(table: pd.DataFrame, task: Task) -> None:
    known = set(task.labels)
    for column in ("label", "predicted"):
        other = sorted({str(value) for value in table[column]} - known)
        if other:
            raise PredictionError(
                f"unknown labels in column {column}",
                found=_few(other),
                expected=f"{task.negative} or {task.positive}",
            )
    if table["label"].nunique() < 2:
        raise EvaluationError(
            "an evaluation needs patients of both labels",
            found=f"only {table['label'].iloc[0]}",
            expected=f"{task.negative} and {task.positive}",
        )
    counts = table.groupby("patient_id")["label"].nunique()
    if (counts > 1).any():
        raise PredictionError(
            "a patient has two labels", found=_few(list(counts.index[counts > 1]))
        )


def _check_folds(table: pd.DataFrame, folds: pd.DataFrame) -> None:
    keys = ["repeat", "patient_id"]
    if folds.duplicated(keys).any():
        raise PredictionError("a patient is in two folds of one repeat of the folds")
    joined = table[[*keys, "fold"]].merge(
        folds[[*keys, "fold"]], on=keys, how="outer", suffixes=("_scores", "_folds")
    )
    unequal = joined[joined["fold_scores"] != joined["fold_folds"]]
    if len(unequal):
        first = [f"{row.patient_id} in repeat {row.repeat}" for row in unequal.itertuples()]
        raise PredictionError(
            "the scores and the folds disagree on who was held out where",
            found=_few(first),
            remedy="Make both with the same run; train again if the folds were drawn anew",
        )


def _check_complete(fold: pd.DataFrame) -> None:
    missing = fold.columns[fold.isna().any(axis=0)]
    if len(missing):
        raise PredictionError("a patient is not scored in every repeat", found=_few(list(missing)))


def _check_thresholds(arrays: ScoreArrays, thresholds: Mapping[tuple[int, int], float]) -> None:
    for row, repeat in enumerate(arrays.repeats):
        for fold in np.unique(arrays.fold[row]):
            threshold = thresholds.get((repeat, int(fold)))
            if threshold is None or not np.isfinite(threshold):
                raise PredictionError(
                    "a fold has no decision threshold", found=f"repeat {repeat}, fold {fold}"
                )
            inside = arrays.fold[row] == fold
            distance = arrays.scores[row, inside] - threshold
            wrong = (distance >= 0) != arrays.predicted[row, inside]
            if (wrong & (np.abs(distance) > _ROUNDING)).any():
                names = np.array(arrays.patient_ids, dtype=object)[inside]
                clear = wrong & (np.abs(distance) > _ROUNDING)
                raise PredictionError(
                    "a prediction contradicts its score and threshold",
                    found=f"{_few(list(names[clear]))} in repeat {repeat}",
                    expected=f"the positive label from {threshold:g} on",
                )
