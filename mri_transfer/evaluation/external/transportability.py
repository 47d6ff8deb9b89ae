"""What becomes of a model's threshold and probabilities in a cohort it was not made on.

The threshold that the bundle brings is *transported*: nothing here had a say in it. One that is
*chosen anew* on the cohort looks better on it than it is, so that beside what it seems to reach
stands what thresholds reach that were chosen without the patients they are tried on.

Recalibration is told as information and not applied: whoever applies it has a new model, which
needs patients of its own to be tested.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray
from mri_transfer.errors import EvaluationError, FoldError
from mri_transfer.evaluation.external.document import Rechosen
from mri_transfer.evaluation.external.results import RecalibrationAdvice, RecalibrationWay
from mri_transfer.metrics.calibration import score_logits
from mri_transfer.metrics.calibration_slope import calibration_intercept
from mri_transfer.metrics.discrimination import youden_threshold
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.operating_point import confusion, rates
from mri_transfer.metrics.scored import ScoredPatients, metric
from mri_transfer.models.recalibration import fit_recalibration
from mri_transfer.training.folds import make_folds
from mri_transfer.training.settings import FoldSpec

__all__ = ["cross_chosen", "recalibration_advice", "rechosen_threshold"]


#: Patients of each label that a choice inside the cohort needs.
_FEWEST = 3
#: Folds and repeats of what is chosen and tried inside the cohort.
_FOLDS, _REPEATS = 10, 10


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CrossChosen:
    """Folds of a cohort, each with the threshold that the patients outside it choose.

    Attributes
    ----------
    folds : ndarray of int64, shape (n_repeats, n)
    thresholds : mapping of (repeat, fold) to float
    """

    folds: IntArray
    thresholds: Mapping[tuple[int, int], float]

    def called(self, scores: npt.ArrayLike) -> BoolArray:
        """Return who is called positive, shape (n_repeats, n)."""
        values = np.asarray(scores, dtype=np.float64)
        limits = np.array(
            [
                [self.thresholds[repeat, int(fold)] for fold in row]
                for repeat, row in enumerate(self.folds)
            ]
        )
        return np.asarray(values >= limits)


@metric
def cross_chosen(patients: ScoredPatients, *, seed: int, n_repeats: int = _REPEATS) -> CrossChosen:
    """Choose Youden's threshold for each part of a cohort on the rest of it.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels and scores of shape (n,).
    seed : int
    n_repeats : int

    Raises
    ------
    EvaluationError
        If a label has fewer than three patients.
    """
    positive, values = patients.positive, patients.scores[0]
    if patients.fewest < _FEWEST:
        raise EvaluationError(
            "a threshold cannot be chosen on so few patients",
            found=f"{patients.fewest} of a label",
            expected="three or more",
        )
    assignment = _assignment(positive, seed=seed, n_repeats=n_repeats)
    thresholds = {
        (repeat, int(fold)): youden_threshold(positive[row != fold], values[row != fold])
        for repeat, row in enumerate(assignment)
        for fold in np.unique(row)
    }
    return CrossChosen(folds=assignment, thresholds=thresholds)


@metric
def rechosen_threshold(
    patients: ScoredPatients, *, seed: int, confidence: float = 0.95
) -> Rechosen:
    """Say which threshold this cohort would choose, what it seems to reach, and what it reaches.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels and probabilities of shape (n,).
    seed : int
    confidence : float

    Returns
    -------
    Rechosen
        The threshold is Youden's on all patients, its apparent rates are those of the patients
        that chose it. Where none can be chosen, the reason alone.
    """
    try:
        chosen = cross_chosen(patients, seed=seed)
    except (EvaluationError, FoldError) as error:
        return Rechosen(threshold=None, reason=str(error))
    positive, values = patients.positive, patients.scores[0]
    threshold = youden_threshold(patients)
    apparent = rates(confusion(positive, values >= threshold), confidence=confidence)
    return Rechosen(
        threshold=threshold,
        method=f"Youden's index; {_FOLDS} folds or fewer, {_REPEATS} repeats",
        apparent={name: estimate.value for name, estimate in apparent.items()},
        cross_validated=rates(confusion(positive, chosen.called(values)), confidence=confidence),
    )


@metric
def recalibration_advice(
    patients: ScoredPatients, *, seed: int, confidence: float = 0.95
) -> RecalibrationAdvice:
    """Say what recalibrating on this cohort would do; nothing is applied.

    Parameters
    ----------
    patients, seed, confidence
        As in `rechosen_threshold`.

    Returns
    -------
    RecalibrationAdvice
        Of three ways: none, intercept (all log-odds shifted) and intercept_and_slope (Platt
        1999). Or the reason alone.
    """
    positive, values = patients.positive, patients.probabilities[0]
    if patients.fewest < _FEWEST:
        reason = f"only {patients.fewest} patients of a label"
        return RecalibrationAdvice(ways=(), least=None, reason=reason)
    shift = calibration_intercept(patients, confidence=confidence)
    platt = fit_recalibration("platt", positive, values)
    makers: dict[str, tuple[dict[str, float | Estimate], Callable[..., FloatArray]]] = {
        "none": ({}, lambda _labels, _scores, new: new),
        "intercept": ({"intercept": shift}, _shifted),
        "intercept_and_slope": (
            {name: numbers[0] for name, numbers in platt.parameters.items()},
            lambda known, learned, new: fit_recalibration("platt", known, learned).apply(new),
        ),
    }
    ways = tuple(
        RecalibrationWay(
            way=way, parameters=parameters, log_loss=_held_out(positive, values, make, seed)
        )
        for way, (parameters, make) in makers.items()
    )
    return RecalibrationAdvice(ways=ways, least=min(ways, key=lambda way: way.log_loss).way)


def _shifted(known: BoolArray, learned: FloatArray, new: FloatArray) -> FloatArray:
    from scipy.special import expit

    shift = calibration_intercept(known, learned).value or 0.0
    return np.asarray(expit(score_logits(new) + shift), dtype=np.float64)


def _held_out(
    positive: BoolArray,
    values: FloatArray,
    make: Callable[..., FloatArray],
    seed: int,
) -> float:
    losses = []
    for row in _assignment(positive, seed=seed, n_repeats=1):
        for fold in np.unique(row):
            held = row == fold
            mapped = make(positive[~held], values[~held], values[held])
            right = np.where(positive[held], mapped, 1.0 - mapped)
            losses.append(-np.log(np.clip(right, 1e-6, 1.0)))
    return float(np.concatenate(losses).mean())


def _assignment(positive: BoolArray, *, seed: int, n_repeats: int) -> IntArray:
    """Return the fold of each patient, labels spread evenly, shape (n_repeats, n)."""
    names: Sequence[str] = [f"{i:09d}" for i in range(len(positive))]
    fewest = int(min(positive.sum(), (~positive).sum()))
    spec = FoldSpec(n_folds=max(2, min(_FOLDS, fewest)), n_repeats=n_repeats)
    folds = make_folds(names, [str(int(label)) for label in positive], spec=spec, seed=seed)
    return np.asarray(folds.assignment, dtype=np.int64)
