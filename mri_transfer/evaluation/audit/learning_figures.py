"""What the scores of a learning curve amount to: AUC by size, its spread, the trunk's advantage."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.evaluation.audit.learning_results import (
    Draws,
    FeatureCurve,
    LearningPoint,
    TransferPoint,
)
from mri_transfer.evaluation.audit.power_law import extrapolate
from mri_transfer.metrics.discrimination import bootstrap_auc, pair_kernel
from mri_transfer.metrics.named_rng import named_rng
from mri_transfer.metrics.paired import bootstrap_difference

__all__ = ["CurveFigures"]


#: The fitted curve is read at this many times the training patients there are.
_EXTRAPOLATION = 2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CurveFigures:
    """Turns scores, by size, into figures.

    Scores have the shape (n_draws * n_repeats, n_patients): the repeats of one draw of training
    patients after those of the other.

    Attributes
    ----------
    labels : ndarray of {0, 1}, shape (n_patients,)
    assignment : ndarray of int64, shape (n_repeats, n_patients)
        The fold that holds a patient out.
    n_train : float
        Training patients of a fold if all are taken, mean over folds.
    n_samples : int
        Resamples of patients behind each interval.
    confidence : float
    seed : int
    """

    labels: IntArray
    assignment: IntArray
    n_train: float
    n_samples: int
    confidence: float
    seed: int

    def curve(self, name: str, scores: Mapping[int | None, FloatArray]) -> FeatureCurve:
        """Return the rows of one table of features, and where its curve points.

        Parameters
        ----------
        name : str
        scores : mapping of int or None to ndarray
            By size; None takes every training patient.
        """
        kernels = [self._kernel(values) for values in scores.values()]
        return FeatureCurve(
            curve=tuple(
                LearningPoint(
                    size=size,
                    n_train=self._n_train(size),
                    auc=bootstrap_auc(self.labels, values, **self._options(f"auc {size}")),
                    auc_within_folds=self._within_folds(values),
                    draws=self._spread(values),
                )
                for size, values in scores.items()
            ),
            extrapolation=extrapolate(
                [self._n_train(size) for size in scores],
                kernels,
                self.labels,
                at=_EXTRAPOLATION * self.n_train,
                **self._options(f"extrapolation {name}"),
            ),
        )

    def transfer(
        self, scores: Mapping[str, Mapping[int | None, FloatArray]]
    ) -> dict[str, tuple[TransferPoint, ...]]:
        """Return, by name and size, the AUC of the first table minus that of each other one."""
        main, *controls = scores
        return {
            control: tuple(
                TransferPoint(
                    size=size,
                    n_train=self._n_train(size),
                    auc_difference=bootstrap_difference(
                        self.labels,
                        values,
                        scores[control][size],
                        **self._options(f"auc {size}"),
                    ),
                )
                for size, values in scores[main].items()
            )
            for control in controls
        }

    def _n_train(self, size: int | None) -> float:
        return self.n_train if size is None else float(size)

    def _options(self, figure: str) -> dict[str, Any]:
        return {
            "n_samples": self.n_samples,
            "rng": named_rng(self.seed, f"learning curve {figure}"),
            "confidence": self.confidence,
        }

    def _kernel(self, values: FloatArray) -> FloatArray:
        positive = self.labels == 1
        return pair_kernel(values[:, positive], values[:, ~positive])

    def _within_folds(self, values: FloatArray) -> float:
        """AUC over the pairs of patients that one head scored, every pair counting the same."""
        positive = self.labels == 1
        folds = np.tile(self.assignment, (len(values) // len(self.assignment), 1))
        same = folds[:, positive, None] == folds[:, None, ~positive]
        won = [
            self._kernel(row[None])[pairs].sum() for row, pairs in zip(values, same, strict=True)
        ]
        return float(np.sum(won) / same.sum())

    def _spread(self, values: FloatArray) -> Draws:
        """How much the AUC varies between single cross-validations, each with its own draws."""
        aucs = np.array([self._kernel(row[None]).mean() for row in values])
        several = len(aucs) > 1
        return Draws(
            n=len(aucs),
            sd=float(aucs.std(ddof=1)) if several else None,
            lowest=float(aucs.min()),
            highest=float(aucs.max()),
            reason=None if several else "one cross-validation has no spread",
        )
