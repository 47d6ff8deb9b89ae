"""Displays: figures of labels and scores in arrays, in the manner of scikit-learn's displays.

``RocDisplay.from_predictions(y, score)`` computes the curve with its interval and plots it;
``plot(ax=...)`` plots it again. Intervals are those of independent rows: a row is a patient, not a
slice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.calibration import calibration_curve
from mri_transfer.metrics.decision_curve import decision_curve
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.discrimination import mean_roc_curve
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.results import CalibrationCurve, DecisionCurve, SmoothCurve
from mri_transfer.metrics.scored import ScoredPatients
from mri_transfer.metrics.smooth_calibration import smooth_calibration
from mri_transfer.report.figures.arrays import FloatArray
from mri_transfer.report.figures.curves import area_text, plot_calibration_curve, plot_roc_curve
from mri_transfer.report.figures.trends import plot_decision_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["CalibrationDisplay", "DecisionCurveDisplay", "RocDisplay"]


class _Display:
    """Puts a figure on axes, which are made if none are given."""

    ax_: Axes
    figure_: Figure | SubFigure

    def plot(self, ax: Axes | None = None) -> Self:
        """Plot the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New axes if not given.

        Returns
        -------
        Self
            With the axes as `ax_` and their figure as `figure_`.
        """
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots()
        self._draw(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw(self, ax: Axes) -> None:
        raise NotImplementedError


@dataclasses.dataclass(kw_only=True, eq=False)
class RocDisplay(_Display):
    """A ROC curve with its area.

    Attributes
    ----------
    fpr, tpr : ndarray of float64
        1 - specificity and sensitivity, from (0, 0) to (1, 1); of repeats the mean curve.
    auc : Estimate
        The area with DeLong's interval.
    confidence : float
    ax_, figure_ : matplotlib Axes, Figure
        Where it was plotted last.
    """

    fpr: FloatArray
    tpr: FloatArray
    auc: Estimate
    confidence: float = 0.95

    @classmethod
    def from_predictions(
        cls,
        y_true: npt.ArrayLike,
        y_score: npt.ArrayLike,
        *,
        pos_label: Any = None,
        confidence: float = 0.95,
        ax: Axes | None = None,
    ) -> Self:
        """Compute and plot the curve of labels and scores.

        Parameters
        ----------
        y_true : array_like, shape (n_patients,)
            Two labels.
        y_score : array_like of float, shape (n_patients,) or (n_repeats, n_patients)
            The higher, the more likely the positive label.
        pos_label : optional
            The positive label; not needed where labels are 0 and 1.
        confidence : float
            Of the interval, 0 to 1.
        ax : matplotlib Axes, optional

        Raises
        ------
        EvaluationError
            If there are not two labels, shapes differ or a score is not finite.
        """
        patients = _scored(y_true, y_score, pos_label)
        fpr, tpr = mean_roc_curve(patients)
        auc = delong_auc(patients, confidence=confidence).estimate
        return cls(fpr=fpr, tpr=tpr, auc=auc, confidence=confidence).plot(ax)

    def _draw(self, ax: Axes) -> None:
        plot_roc_curve(ax, self.fpr, self.tpr, text=area_text(self.auc, confidence=self.confidence))


@dataclasses.dataclass(kw_only=True, eq=False)
class CalibrationDisplay(_Display):
    """Observed shares of the positive label against the score, by group and smoothed.

    Attributes
    ----------
    curve : CalibrationCurve
    smooth : SmoothCurve
    distances : mapping of str to Estimate
        ici, e50, e90 and emax: how far the smoothed curve is from the diagonal.
    positive : str
        The positive label.
    ax_, figure_ : matplotlib Axes, Figure
        Where it was plotted last.
    """

    curve: CalibrationCurve
    smooth: SmoothCurve
    distances: Mapping[str, Estimate]
    positive: str

    @classmethod
    def from_predictions(
        cls,
        y_true: npt.ArrayLike,
        y_prob: npt.ArrayLike,
        *,
        pos_label: Any = None,
        n_bins: int = 10,
        n_samples: int = 1000,
        confidence: float = 0.95,
        random_state: int = 0,
        ax: Axes | None = None,
    ) -> Self:
        """Compute and plot the calibration of probabilities.

        Parameters
        ----------
        y_true, pos_label, confidence, ax
            As in `RocDisplay.from_predictions`.
        y_prob : array_like of float, shape (n_patients,) or (n_repeats, n_patients)
            Probabilities of the positive label, 0 to 1.
        n_bins : int
            Most groups; see `calibration_curve`.
        n_samples : int
            Resamples of patients for the band of the smoothed curve.
        random_state : int
            Seed of the resamples.

        Raises
        ------
        EvaluationError
            If there are not two labels, shapes differ or a score is no probability.
        """
        patients = _scored(y_true, y_prob, pos_label)
        smooth, distances = smooth_calibration(
            patients,
            n_samples=n_samples,
            rng=np.random.default_rng(random_state),
            confidence=confidence,
        )
        curve = calibration_curve(patients, n_bins=n_bins, confidence=confidence)
        positive = "positive" if pos_label is None else str(pos_label)
        return cls(curve=curve, smooth=smooth, distances=distances, positive=positive).plot(ax)

    def _draw(self, ax: Axes) -> None:
        plot_calibration_curve(ax, self.curve, self.smooth, positive=self.positive)


@dataclasses.dataclass(kw_only=True, eq=False)
class DecisionCurveDisplay(_Display):
    """Net benefit of acting on the score, of treating everybody and of treating nobody.

    Attributes
    ----------
    curve : DecisionCurve
    baseline : str or None
        Name of another model that is drawn too.
    ax_, figure_ : matplotlib Axes, Figure
        Where it was plotted last.
    """

    curve: DecisionCurve
    baseline: str | None = None

    @classmethod
    def from_predictions(
        cls,
        y_true: npt.ArrayLike,
        y_prob: npt.ArrayLike,
        *,
        pos_label: Any = None,
        baseline: tuple[str, npt.ArrayLike] | None = None,
        n_samples: int = 1000,
        confidence: float = 0.95,
        random_state: int = 0,
        ax: Axes | None = None,
    ) -> Self:
        """Compute and plot the decision curve of probabilities.

        Parameters
        ----------
        y_true, y_prob, pos_label, n_samples, confidence, random_state, ax
            As in `CalibrationDisplay.from_predictions`.
        baseline : (str, array_like), optional
            Another model's name and its probabilities for the same patients.

        Raises
        ------
        EvaluationError
            If there are not two labels, shapes differ or a score is no probability.
        """
        curve = decision_curve(
            _scored(y_true, y_prob, pos_label),
            n_samples=n_samples,
            rng=np.random.default_rng(random_state),
            confidence=confidence,
            others=None if baseline is None else dict([baseline]),
        )
        return cls(curve=curve, baseline=None if baseline is None else baseline[0]).plot(ax)

    def _draw(self, ax: Axes) -> None:
        plot_decision_curve(ax, self.curve, baseline=self.baseline)


def _scored(labels: npt.ArrayLike, scores: npt.ArrayLike, positive: Any) -> ScoredPatients:
    """Return checked patients; labels may be any two values if the positive one is named."""
    values = np.asarray(labels)
    if positive is None:
        return ScoredPatients.of(values, scores)
    found = sorted(set(values.ravel().tolist()), key=str)
    if len(found) != 2 or positive not in found:
        raise EvaluationError(
            "labels must be two, one of them pos_label",
            found=f"pos_label {positive!r}, labels {', '.join(map(repr, found[:5]))}",
        )
    return ScoredPatients.of(values == positive, scores)
