"""Slope and intercept of scores at a new site, held back by a prior."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.models.recalibration import Recalibration
from mri_transfer.models.recalibration.maps import terms

__all__ = ["shrunk_recalibration"]

FloatArray = npt.NDArray[np.float64]


def shrunk_recalibration(
    old: Recalibration,
    labels: npt.NDArray[np.int64],
    scores: FloatArray,
    *,
    slope_deviation: float,
    intercept_deviation: float,
) -> Recalibration:
    """Learn slope and intercept of the recalibrated log-odds by penalised maximum likelihood.

    Normal priors hold the slope near 1 and the intercept near 0: four patients whom the score
    parts would otherwise have it infinitely steep.

    Parameters
    ----------
    old : Recalibration
        Slopes and intercepts are worked into one of kind `platt` or `none`. Others are replaced
        by a map of the head's own log-odds.
    labels : ndarray of {0, 1}, shape (n,)
    scores : ndarray, shape (n,)
        As the head gives them.
    slope_deviation, intercept_deviation : float
        Of the priors, in log-odds.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    raw = terms("platt", torch.from_numpy(np.asarray(scores, dtype=np.float64))).numpy()[:, 0]
    slope, intercept = 1.0, 0.0
    if old.method == "platt":
        slope, intercept = (old.parameters[name][0] for name in ("slope", "intercept"))
    odds = slope * raw + intercept

    def loss(beta: FloatArray) -> tuple[float, FloatArray]:
        found = beta[0] * odds + beta[1]
        away = np.array([beta[0] - 1.0, beta[1]])
        precision = np.array([slope_deviation**-2, intercept_deviation**-2])
        value = np.logaddexp(0.0, found).sum() - (labels * found).sum()
        residual = expit(found) - labels
        slopes = np.array([residual @ odds, residual.sum()]) + precision * away
        return float(value + 0.5 * (precision * away**2).sum()), slopes

    a, b = minimize(
        loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0.0, None), (None, None)]
    ).x
    parameters = {"slope": (float(a * slope),), "intercept": (float(a * intercept + b),)}
    return Recalibration("platt", parameters)
