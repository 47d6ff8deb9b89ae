"""Labels and scores of the same patients, checked once, and the metrics that take them.

Scores of repeated cross-validation come as shape (n_repeats, n_patients): every repeat scores
every patient once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import BoolArray, FloatArray
from mri_transfer.errors import EvaluationError

__all__ = ["ScoredPatients", "check_labels", "metric"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScoredPatients:
    """Patients of both labels with their scores; made by `of`, which checks them.

    Attributes
    ----------
    positive : ndarray of bool, shape (n,)
        True for the positive label; both labels occur.
    scores : ndarray of float64, shape (n_repeats, n)
        All finite.
    """

    positive: BoolArray
    scores: FloatArray

    @classmethod
    def of(cls, labels: npt.ArrayLike, scores: npt.ArrayLike) -> ScoredPatients:
        """Check labels and scores.

        Parameters
        ----------
        labels : array_like of {0, 1}, shape (n,)
        scores : array_like of float, shape (n,) or (n_repeats, n)

        Raises
        ------
        EvaluationError
            If labels are not 0 and 1, only one of the two occurs, shapes differ or a score is not
            finite.
        """
        positive = check_labels(labels)
        return cls(positive=positive, scores=_check_scores(scores, len(positive)))

    def rescored(self, scores: npt.ArrayLike) -> ScoredPatients:
        """Return the same patients with the scores of another model, in any number of repeats.

        Raises
        ------
        EvaluationError
            If the shape does not fit or a score is not finite.
        """
        return dataclasses.replace(self, scores=_check_scores(scores, self.n))

    @property
    def n(self) -> int:
        """Number of patients."""
        return len(self.positive)

    @property
    def n_positive(self) -> int:
        """Number of patients with the positive label."""
        return int(self.positive.sum())

    @property
    def n_negative(self) -> int:
        """Number of patients with the negative label."""
        return self.n - self.n_positive

    @property
    def fewest(self) -> int:
        """Number of patients of the rarer label."""
        return min(self.n_positive, self.n_negative)

    @functools.cached_property
    def probabilities(self) -> FloatArray:
        """The scores as probabilities of the positive label, shape (n_repeats, n).

        Raises
        ------
        EvaluationError
            If one of them lies outside 0 to 1.
        """
        if self.scores.min() < 0.0 or self.scores.max() > 1.0:
            raise EvaluationError(
                "calibration needs probabilities",
                found=f"scores from {self.scores.min():g} to {self.scores.max():g}",
                expected="0 to 1",
            )
        return self.scores


def check_labels(labels: npt.ArrayLike) -> BoolArray:
    """Return labels as booleans, shape (n,), True for the positive label.

    Raises
    ------
    EvaluationError
        If they are not 0 and 1, or only one of the two occurs.
    """
    values = np.asarray(labels)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise EvaluationError(
            "labels must be one row of 0 and 1",
            found=f"shape {values.shape}, values {sorted(set(values.ravel().tolist()))[:5]}",
        )
    positive = values.astype(bool)
    if positive.all() or not positive.any():
        raise EvaluationError(
            "discrimination needs patients of both labels",
            found=f"{len(positive)} patients of one label",
            remedy="Evaluate a cohort that holds the positive and the negative label",
        )
    return positive


def _check_scores(scores: npt.ArrayLike, n: int) -> FloatArray:
    values = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if values.ndim != 2 or values.shape[1] != n or values.shape[0] == 0:
        raise EvaluationError(
            "scores do not fit the labels",
            found=f"shape {np.shape(scores)}",
            expected=f"({n},) or (n_repeats, {n})",
        )
    if not np.isfinite(values).all():
        raise EvaluationError("a score is not a finite number")
    return values


P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Metric(Protocol[P, R_co]):
    """A function of patients that were checked, or of labels and scores that it checks."""

    @overload
    def __call__(
        self, patients: ScoredPatients, /, *args: P.args, **settings: P.kwargs
    ) -> R_co: ...

    @overload
    def __call__(
        self,
        labels: npt.ArrayLike,
        scores: npt.ArrayLike,
        /,
        *args: P.args,
        **settings: P.kwargs,
    ) -> R_co: ...


def metric(function: Callable[Concatenate[ScoredPatients, P], R]) -> Metric[P, R]:
    """Let a function of `ScoredPatients` take plain labels and scores in their place.

    ``auc(patients)`` trusts what `ScoredPatients.of` has checked; ``auc(labels, scores)`` checks
    it first, so that nothing is checked twice and nobody is trusted unchecked.
    """

    def of_arrays(labels: Any, scores: Any, *args: Any, **settings: Any) -> R:
        return function(ScoredPatients.of(labels, scores), *args, **settings)

    @functools.wraps(function)
    def either(*args: Any, **settings: Any) -> R:
        checked = bool(args) and isinstance(args[0], ScoredPatients)
        return function(*args, **settings) if checked else of_arrays(*args, **settings)

    return cast(Metric[P, R], either)
