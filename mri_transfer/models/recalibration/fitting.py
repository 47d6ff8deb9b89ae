"""Learning a map of scores from inner scores of training patients, and choosing among methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.errors import HeadError
from mri_transfer.models.recalibration.maps import (
    CLIP,
    PARAMETERS,
    Recalibration,
    check_scores,
    terms,
)
from mri_transfer.models.recalibration.methods import RecalibrationMethod

__all__ = ["choose_recalibration", "fit_recalibration"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Log losses nearer than this are equal; the method named first is then taken.
_TIE = 1e-9


def fit_recalibration(
    method: RecalibrationMethod, labels: npt.ArrayLike, scores: npt.ArrayLike
) -> Recalibration:
    """Learn the map from scores to probabilities.

    Parameters
    ----------
    method : {"none", "platt", "isotonic", "beta"}
        ``platt``: logistic model on the logit of the score (Platt 1999); ``isotonic``: the best
        non-decreasing step map, linear between its steps (Zadrozny and Elkan 2002); ``beta``:
        logistic model on ln s and -ln(1 - s), which holds the identity at a = b = 1, c = 0
        (Kull, Silva Filho and Flach 2017, AISTATS 54:623-631).
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float in [0, 1], shape (n,)
        Of training patients that the head which scored them had not seen.

    Returns
    -------
    Recalibration

    Raises
    ------
    HeadError
        If labels or scores are not of that kind, or only one label occurs.
    """
    positive, values = _check(labels, scores)
    if method == "none":
        return Recalibration("none", {})
    targets = np.where(positive, 1.0 - 1.0 / (positive.sum() + 2.0), 1.0 / ((~positive).sum() + 2))
    if method == "isotonic":
        return _fit_isotonic(values, targets)
    if method not in PARAMETERS:
        raise HeadError(
            "no such recalibration",
            found=repr(method),
            expected=", ".join(get_args(RecalibrationMethod)),
        )
    coefficients = _fit_logistic(terms(method, torch.from_numpy(values)).numpy(), targets)
    names = PARAMETERS[method]
    return Recalibration(method, {n: (float(v),) for n, v in zip(names, coefficients, strict=True)})


def choose_recalibration(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    assignment: npt.ArrayLike,
    *,
    methods: Sequence[RecalibrationMethod],
) -> tuple[Recalibration, dict[str, float]]:
    """Choose the method with the least log loss on patients that its map was not learned from.

    The inner scores are split by the very inner folds they came from: the map learned from all
    folds but one is judged on that one. The best method is then fitted on all of them.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    scores : array_like of float in [0, 1], shape (n,)
        Each patient's score by the inner head that had not seen it.
    assignment : array_like of int, shape (n,)
        Inner fold of each patient.
    methods : sequence of str
        In order of preference: on a tie the earlier is taken.

    Returns
    -------
    recalibration : Recalibration
        Fitted on all patients.
    log_loss : dict of str to float
        Mean over patients for each method; lower is better.

    Raises
    ------
    HeadError
        If there is no method or only one inner fold, or all but one fold hold one label only.
    """
    positive, values = _check(labels, scores)
    fold = np.asarray(assignment)
    if fold.shape != values.shape or len(np.unique(fold)) < 2 or not methods:
        raise HeadError(
            "a recalibration cannot be chosen",
            found=f"{len(methods)} methods, {len(np.unique(fold))} inner folds of {fold.shape}",
            expected=f"a method or more, two folds or more of {values.shape}",
        )
    losses = {}
    for method in methods:
        mapped = np.empty(len(values))
        for held in (fold == k for k in np.unique(fold)):
            learned = fit_recalibration(method, positive[~held], values[~held])
            mapped[held] = learned.apply(values[held])
        right = np.where(positive, mapped, 1.0 - mapped)
        losses[str(method)] = float(-np.log(np.clip(right, CLIP, 1.0)).mean())
    best = methods[0]
    for method in methods[1:]:
        best = method if losses[method] < losses[best] - _TIE else best
    return fit_recalibration(best, positive, values), losses


def _fit_isotonic(values: FloatArray, targets: FloatArray) -> Recalibration:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(out_of_bounds="clip").fit(values, targets)
    # Averages of one block may differ in the last digit; the map must not fall by it.
    levels = np.maximum.accumulate(model.y_thresholds_)
    return Recalibration(
        "isotonic",
        {"scores": tuple(model.X_thresholds_.tolist()), "values": tuple(levels.tolist())},
    )


def _fit_logistic(columns: FloatArray, targets: FloatArray) -> FloatArray:
    """Fit slopes >= 0 and an intercept by maximum likelihood, shape (n_slopes + 1,)."""
    from scipy.optimize import minimize
    from scipy.special import expit, logit

    level = float(logit(targets.mean()))
    if np.ptp(columns, axis=0).max() == 0.0:
        return np.array([0.0] * columns.shape[1] + [level])
    # Centred, so that slopes and intercept can be sought apart from each other.
    centre = columns.mean(axis=0)
    design = np.column_stack([columns - centre, np.ones(len(columns))])

    def loss(beta: FloatArray) -> tuple[float, FloatArray]:
        eta = design @ beta
        value = np.logaddexp(0.0, eta).mean() - (targets * eta).mean()
        return float(value), design.T @ (expit(eta) - targets) / len(targets)

    found = minimize(
        loss,
        np.array([0.0] * columns.shape[1] + [level]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * columns.shape[1] + [(None, None)],
        options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9},
    ).x
    return np.append(found[:-1], found[-1] - centre @ found[:-1])


def _check(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    known, values = np.asarray(labels), check_scores(scores)
    if known.ndim != 1 or known.shape != values.shape or not np.isin(known, (0, 1)).all():
        raise HeadError(
            "labels and scores do not fit each other",
            found=f"labels {known.shape}, scores {values.shape}",
            expected="one label, 0 or 1, and one score a patient",
        )
    positive = known.astype(bool)
    if positive.all() or not positive.any():
        raise HeadError(
            "a recalibration needs patients of both labels",
            found=f"{len(positive)} patients of one label",
            remedy="Use fewer inner folds or more patients",
        )
    return positive, values
