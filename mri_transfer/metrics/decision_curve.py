"""What deciding by the score would be worth: decision curves.

Net benefit at a threshold t counts true positives and charges each false positive the odds of t:
``TP / n - FP / n * t / (1 - t)``. Whoever would act from a risk of t on, weighs the two in this
very way (Vickers and Elkin 2006, Med Decis Making 26:565-574). A model is of use at t if its net
benefit is above that of treating everybody and of treating nobody. The values hold at the share of
positive patients in this cohort and at no other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray
from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.intervals import Estimate, patient_bootstrap
from mri_transfer.metrics.results import DecisionCurve, OtherCurve
from mri_transfer.metrics.scored import ScoredPatients, metric

__all__ = ["decision_curve"]


#: Thresholds at which a decision curve is given unless others are asked for.
THRESHOLDS: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 20))


@metric
def decision_curve(
    patients: ScoredPatients,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    others: Mapping[str, npt.ArrayLike] | None = None,
) -> DecisionCurve:
    """Net benefit of the model, of treating everybody, of treating nobody, and of other scores.

    Values are those of the library `dcurves`, averaged over repeats. Intervals resample patients,
    the same at every threshold and for every difference.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and probabilities of shape (n,) or (n_repeats, n).
        A patient is treated if the score is at or above the threshold.
    thresholds : sequence of float in (0, 1)
    n_samples : int
    rng : numpy.random.Generator
    confidence : float
    others : mapping of str to scores, optional
        Scores of other models for the same patients, shape (n,) or (n_repeats, n) with any number
        of repeats.

    Returns
    -------
    DecisionCurve

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ, a score is no probability or a threshold is not
        between 0 and 1.
    """
    positive, rows = patients.positive, patients.probabilities
    grid = _check_thresholds(thresholds)
    named = {
        name: patients.rescored(scores).probabilities for name, scores in (others or {}).items()
    }
    model, treat_all, treat_none = _net_benefit(positive, rows, grid)
    parts = _contributions(positive, rows, grid)
    everybody = _contributions(positive, np.ones((1, len(positive))), grid)
    seed = int(rng.integers(2**63))

    def estimates(values: FloatArray, against: _Mean | None = None) -> tuple[Estimate, ...]:
        """Resample the model's net benefit less another at each threshold; values of dcurves."""
        resampled = []
        for i, value in enumerate(values):
            estimate = patient_bootstrap(
                _less(parts[:, i], against, i),
                positive,
                n_samples=n_samples,
                rng=np.random.default_rng(seed),
                confidence=confidence,
                batched=True,
            )
            resampled.append(dataclasses.replace(estimate, value=float(value)))
        return tuple(resampled)

    curves = {}
    for name, other_rows in named.items():
        other, _, _ = _net_benefit(positive, other_rows, grid)
        curves[name] = OtherCurve(
            net_benefit=tuple(other),
            difference=estimates(
                model - other, _mean_of(_contributions(positive, other_rows, grid))
            ),
        )
    return DecisionCurve(
        thresholds=tuple(grid),
        treat_all=tuple(treat_all),
        treat_none=tuple(treat_none),
        model=estimates(model),
        gain=estimates(
            model - np.maximum(treat_all, treat_none),
            lambda indices, i: np.maximum(_mean_of(everybody)(indices, i), 0.0),
        ),
        others=curves,
    )


#: A net benefit on resampled patients: positions (b, n) and the threshold's index give (b,).
_Mean = Callable[[IntArray, int], FloatArray]


def _mean_of(parts: FloatArray) -> _Mean:
    return lambda indices, i: np.asarray(parts[indices, i].mean(axis=1), dtype=np.float64)


def _less(
    part: FloatArray, against: _Mean | None, threshold: int
) -> Callable[[IntArray], FloatArray]:
    def statistic(indices: IntArray) -> FloatArray:
        own = np.asarray(part[indices].mean(axis=1), dtype=np.float64)
        return own if against is None else own - against(indices, threshold)

    return statistic


def _contributions(positive: BoolArray, rows: FloatArray, grid: FloatArray) -> FloatArray:
    """Return what each patient adds to the net benefit, mean over repeats, shape (n, n_grid)."""
    treated = (rows[:, :, None] >= grid).mean(axis=0)
    return np.asarray(treated * np.where(positive[:, None], 1.0, -grid / (1.0 - grid)))


def _net_benefit(
    positive: BoolArray, rows: FloatArray, grid: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the net benefit of the scores, of treating all and of treating none."""
    import pandas as pd
    from dcurves import dca

    benefits = np.zeros((3, len(grid)))
    for row in rows:
        table = dca(
            data=pd.DataFrame({"label": positive, "score": row}),
            outcome="label",
            modelnames=["score"],
            thresholds=grid.tolist(),
        )
        for i, name in enumerate(("score", "all", "none")):
            benefits[i] += table.loc[table["model"] == name, "net_benefit"].to_numpy(dtype=float)
    model, treat_all, treat_none = benefits / len(rows)
    return model, treat_all, treat_none


def _check_thresholds(thresholds: Sequence[float]) -> FloatArray:
    grid = np.array(thresholds, dtype=np.float64)
    if grid.ndim != 1 or not len(grid) or not ((grid > 0.0) & (grid < 1.0)).all():
        raise EvaluationError(
            "a decision curve needs thresholds",
            found=str(list(thresholds))[:80],
            expected="numbers between 0 and 1",
        )
    return grid
