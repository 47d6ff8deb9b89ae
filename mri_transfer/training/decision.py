"""What a score means and where it is cut: learned from inner scores, wherever they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mri_transfer.metrics.discrimination import youden_threshold
from mri_transfer.metrics.operating_targets import threshold_for
from mri_transfer.models.recalibration import (
    Recalibration,
    RecalibrationMethod,
    choose_recalibration,
    fit_recalibration,
)
from mri_transfer.training.settings import PredictionSpec, parse_target

__all__ = ["decide"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """Recalibration and thresholds.

    Attributes
    ----------
    recalibration : Recalibration
    recalibration_log_loss : mapping of str to float
        Of every method that was tried; empty where nothing was chosen.
    threshold : float
        Score from which the positive label is predicted.
    threshold_from : str
    target_thresholds : mapping of str to float
        By the name of the operating point.
    """

    recalibration: Recalibration
    recalibration_log_loss: Mapping[str, float]
    threshold: float
    threshold_from: str
    target_thresholds: Mapping[str, float]


def decide(
    spec: PredictionSpec,
    labels: IntArray,
    scores: FloatArray,
    inner_folds: IntArray,
    *,
    whose: str,
    methods: Sequence[RecalibrationMethod] | None = None,
) -> Decision:
    """Choose recalibration and thresholds on scores of patients that their head had not seen.

    Parameters
    ----------
    spec : PredictionSpec
    labels : ndarray of {0, 1}, shape (n,)
    scores : ndarray of float64, shape (n,) or (0,)
        Not recalibrated; empty where nothing is to be chosen.
    inner_folds : ndarray of int64, shape (n,) or (0,)
        The fold that held each patient out.
    whose : str
        Which scores these are, in words.
    methods : sequence of str, optional
        In place of `spec.recalibration`.
    """
    losses: dict[str, float] = {}
    if len(scores):
        # One thread sums in the same order on any number of cores.
        with threadpool_limits(limits=1):
            recalibration, losses = choose_recalibration(
                labels, scores, inner_folds, methods=methods or spec.recalibration
            )
    else:
        recalibration = fit_recalibration("none", labels, np.full(len(labels), 0.5))
    mapped = recalibration.apply(scores)
    if isinstance(spec.threshold, float):
        threshold, source = spec.threshold, "fixed by the configuration"
    else:
        threshold = float(youden_threshold(labels, mapped))
        source = f"Youden's index on {whose}"
    targets = {}
    for name in spec.targets if len(scores) else ():
        target, at = parse_target(name)
        targets[name] = float(threshold_for(labels, mapped, target=target, at=at))
    return Decision(
        recalibration=recalibration,
        recalibration_log_loss=losses,
        threshold=threshold,
        threshold_from=source,
        target_thresholds=targets,
    )
