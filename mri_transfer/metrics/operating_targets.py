"""Operating points for a stated aim: a sensitivity of .9, a specificity of .9.

The threshold is the least that reaches the aim on training patients; what it reaches on held-out
patients is a finding, not a promise, and is reported whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError, PredictionError
from mri_transfer.metrics.operating_point import confusion, rates
from mri_transfer.metrics.predictive_values import likelihood_ratios
from mri_transfer.metrics.results import OperatingPoint, ThresholdRange
from mri_transfer.metrics.scored import ScoredPatients, metric

__all__ = ["operating_points", "threshold_for"]


@metric
def threshold_for(
    patients: ScoredPatients, *, target: Literal["sensitivity", "specificity"], at: float
) -> float:
    """Choose the threshold that reaches a rate on training patients and gives up least else.

    A patient is called positive if the score is at or above the threshold.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and scores of shape (n,), of training patients.
    target : {"sensitivity", "specificity"}
    at : float in (0, 1]

    Returns
    -------
    float
        Sensitivity: the largest threshold with at least that rate, which is the score of a
        positive patient. Specificity: the smallest such threshold, which is the next number above
        the score of a negative patient.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ, a score is not finite or the aim is not a rate.
    """
    row, positive = patients.scores[0], patients.positive
    if target not in ("sensitivity", "specificity") or not 0.0 < at <= 1.0:
        raise EvaluationError(
            "not an aim of an operating point",
            found=f"{target} {at}",
            expected="sensitivity or specificity, above 0 and up to 1",
        )
    members = np.sort(row[positive if target == "sensitivity" else ~positive])
    # Rounding must not ask for one patient more: .9 of 70 is 63, in floats a little above.
    needed = math.ceil(at * len(members) - 1e-9)
    if target == "sensitivity":
        return float(members[-needed])
    return float(np.nextafter(members[needed - 1], math.inf))


@metric
def operating_points(
    patients: ScoredPatients,
    folds: npt.ArrayLike,
    *,
    thresholds: Mapping[str, Mapping[tuple[int, int], float]],
    repeats: Sequence[int],
    confidence: float = 0.95,
) -> tuple[OperatingPoint, ...]:
    """Report what the thresholds chosen for each aim reach on held-out patients.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and scores of shape (n_repeats, n).
    folds : array_like of int, shape (n_repeats, n)
        Fold that held a patient out.
    thresholds : mapping of str to mapping of (repeat, fold) to float
        For each aim, such as ``sensitivity 0.9``, the threshold of each fold (`threshold_for`).
    repeats : sequence of int
        Name of each row of `scores`.
    confidence : float

    Returns
    -------
    tuple of OperatingPoint
        One for each aim, in the order given.

    Raises
    ------
    PredictionError
        If a fold has no threshold, or shapes differ.
    EvaluationError
        If only one label occurs or a score is not finite.
    """
    rows, fold_of = patients.scores, np.atleast_2d(np.asarray(folds))
    if fold_of.shape != rows.shape or len(repeats) != len(rows):
        raise PredictionError(
            "folds do not fit the scores",
            found=f"folds {fold_of.shape}, {len(repeats)} repeats",
            expected=f"folds {rows.shape}, {len(rows)} repeats",
        )
    return tuple(
        _point(name, chosen, patients, fold_of, repeats, confidence)
        for name, chosen in thresholds.items()
    )


def _point(
    name: str,
    chosen: Mapping[tuple[int, int], float],
    patients: ScoredPatients,
    fold_of: npt.NDArray[Any],
    repeats: Sequence[int],
    confidence: float,
) -> OperatingPoint:
    limits = np.empty(patients.scores.shape)
    used: dict[tuple[int, int], float] = {}
    for i, repeat in enumerate(repeats):
        for fold in np.unique(fold_of[i]):
            key = (int(repeat), int(fold))
            if key not in chosen:
                raise PredictionError(
                    f"no threshold for {name}", found=f"repeat {key[0]}, fold {key[1]}"
                )
            used[key] = float(chosen[key])
            limits[i, fold_of[i] == fold] = used[key]
    counts = confusion(patients.positive, patients.scores >= limits)
    figures = rates(counts, confidence=confidence)
    figures |= likelihood_ratios(counts, confidence=confidence)
    values = list(used.values())
    return OperatingPoint(
        target=name,
        threshold=ThresholdRange(mean=sum(values) / len(values), min=min(values), max=max(values)),
        confusion=counts.matrix(),
        **figures,
    )
