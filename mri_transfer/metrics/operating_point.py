"""Figures at a threshold: the confusion matrix and its rates, with intervals that count patients.

The threshold is chosen on training patients (`youden_threshold`) and only applied to test patients.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.intervals import Estimate, exact_proportion, square_and_add

__all__ = ["Confusion", "confusion", "rates"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusion:
    """Patients by reference standard and prediction; not whole when averaged over repeats."""

    tn: float
    fp: float
    fn: float
    tp: float
    n_repeats: int = 1

    @property
    def n(self) -> float:
        """All patients."""
        return self.tn + self.fp + self.fn + self.tp

    def matrix(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return ``[[tn, fp], [fn, tp]]``: one row a reference label, negative first."""
        return (self.tn, self.fp), (self.fn, self.tp)


def confusion(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> Confusion:
    """Count patients by label and prediction, averaged over repeats.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
        One label alone is allowed here, as in a single fold.
    predicted : array_like of {0, 1}, shape (n,) or (n_repeats, n)

    Raises
    ------
    EvaluationError
        If shapes differ.
    """
    positive = np.asarray(labels).astype(bool)
    called = np.atleast_2d(np.asarray(predicted)).astype(bool)
    if positive.ndim != 1 or called.ndim != 2 or called.shape[1] != len(positive):
        raise EvaluationError(
            "predictions do not fit the labels",
            found=f"shape {np.shape(predicted)}",
            expected=f"({len(positive)},) or (n_repeats, {len(positive)})",
        )
    repeats = len(called)
    return Confusion(
        tn=int((~called & ~positive).sum()) / repeats,
        fp=int((called & ~positive).sum()) / repeats,
        fn=int((~called & positive).sum()) / repeats,
        tp=int((called & positive).sum()) / repeats,
        n_repeats=repeats,
    )


def rates(counts: Confusion, *, confidence: float = 0.95) -> dict[str, Estimate]:
    """Return the rates of a confusion matrix, each with its interval.

    Parameters
    ----------
    counts : Confusion
    confidence : float

    Returns
    -------
    dict of str to Estimate
        sensitivity, specificity, ppv, npv and accuracy with exact intervals (conservative ones
        for counts averaged over repeats: see `exact_proportion`); balanced_accuracy with
        square-and-add of the first two. The predictive values hold at the share of positive
        patients in this cohort and at no other.
    """

    def share(count: float, other: float) -> Estimate:
        return exact_proportion(
            count, count + other, confidence=confidence, averaged=counts.n_repeats > 1
        )

    sensitivity = share(counts.tp, counts.fn)
    specificity = share(counts.tn, counts.fp)
    ppv, npv = share(counts.tp, counts.fp), share(counts.tn, counts.fn)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _because(ppv, "no patient was called positive"),
        "npv": _because(npv, "no patient was called negative"),
        "accuracy": share(counts.tp + counts.tn, counts.fp + counts.fn),
        "balanced_accuracy": square_and_add(sensitivity, specificity),
    }


def _because(estimate: Estimate, reason: str) -> Estimate:
    return dataclasses.replace(estimate, reason=reason) if estimate.value is None else estimate
