"""What plain volumetry reaches on the same folds: the figures that a radiologist knows.

Two baselines. *Plain volumetry* is a logistic regression on shares of ventricles, outer fluid and
grey matter (`scans.volumetry`). The *ventricular percentile for age and sex* says how many in a
hundred people of the same age and sex without the positive label have smaller ventricles; it learns
what is usual from the training patients without that label, and nothing from those with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin

from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.baselines import covariate_design
from mri_transfer.evaluation.image_baselines import penalised_logistic, score_designs
from mri_transfer.metrics.task import Task
from mri_transfer.scans.volumetry import VOLUME_NAMES, BrainVolumes
from mri_transfer.training.folds import Folds

__all__ = ["PERCENTILE", "VOLUMETRY", "NormativePercentile", "volumetry_baselines"]

VOLUMETRY, PERCENTILE = "plain volumetry", "ventricular percentile for age and sex"

_VENTRICLES = "log of the share of ventricles"
#: A head without any central fluid has a logarithm too.
_LEAST_SHARE = 1e-5


def volumetry_baselines(
    volumes: Sequence[BrainVolumes],
    patient_ids: Sequence[str],
    *,
    patients: pd.DataFrame,
    folds: Folds,
    positive_label: str,
    negative_label: str,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Score every patient by volumes of the brain.

    Parameters
    ----------
    volumes : sequence of BrainVolumes, length n_scans
    patient_ids : sequence of str, length n_scans
        Scans of one patient are averaged.
    patients : DataFrame
        Indexed by patient_id. Without ages and sexes there is no percentile.
    folds : Folds
    positive_label, negative_label : str
    seed : int
        Of the folds inside training patients.

    Returns
    -------
    dict of str to DataFrame
        By the baseline's name, the columns of `predictions/patients.csv`. The score of the
        percentile is the percentile, 0 to 1.
    """
    shares = _patient_table(volumes, patient_ids)
    designs: dict[str, tuple[pd.DataFrame, Any]] = {VOLUMETRY: (shares, penalised_logistic())}
    if (norm := _normative_design(shares, patients)) is not None:
        designs[PERCENTILE] = (norm, NormativePercentile())
    return score_designs(
        designs,
        folds=folds,
        task=Task(positive=positive_label, negative=negative_label),
        seed=seed,
    )


def _patient_table(volumes: Sequence[BrainVolumes], patient_ids: Sequence[str]) -> pd.DataFrame:
    rows = np.stack([one.shares for one in volumes])
    table = pd.DataFrame(rows, index=list(patient_ids), columns=list(VOLUME_NAMES))
    return table.groupby(level=0).mean()


def _normative_design(shares: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame | None:
    """Return ventricles, age and indicators of sex; None if age or sex is known of nobody."""
    if not {"age", "sex"} <= set(patients):
        return None
    try:
        known = covariate_design(patients.loc[shares.index], ("age", "sex"))
    except EvaluationError:
        return None
    ventricles = shares.filter(regex="^ventricles").sum(axis=1)
    sexes = pd.get_dummies(known["sex"].replace("", np.nan), dtype=np.float64)
    sexes[known["sex"] == ""] = np.nan
    return pd.DataFrame(
        {
            _VENTRICLES: np.log(np.maximum(ventricles, _LEAST_SHARE)),
            "age": known["age"],
            # One sex is told by the others.
            **{f"sex {name}": sexes[name] for name in list(sexes)[1:]},
        }
    )


class NormativePercentile(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The percentile of a measure among the negative label, for given covariates.

    The first column is regressed on the others among the patients with label 0, by least squares.
    A patient's percentile is that of Student's t at the distance from the prediction, in standard
    errors of predicting one more person, so that it holds its meaning for small groups and for
    covariates at their edge. Where a covariate is missing the group's mean takes its place. Of no
    more people than coefficients nothing is learnt: everybody is in the middle, which is where t
    tends to as its degrees of freedom vanish.
    """

    def fit(self, X: pd.DataFrame, y: IntArray) -> Self:  # noqa: N803
        """Learn from rows with label 0."""
        self.classes_ = np.array([0, 1])
        values = X.to_numpy(dtype=np.float64)[np.asarray(y) == 0]
        known = values[:, 1:]
        self.means_ = np.array([_mean_of_known(column) for column in known.T])
        design = self._design(known)
        self.degrees_ = len(values) - int(np.linalg.matrix_rank(design))
        self.coefficients_ = np.linalg.lstsq(design, values[:, 0], rcond=None)[0]
        residuals = values[:, 0] - design @ self.coefficients_
        self.deviation_ = float(np.sqrt((residuals**2).sum() / max(self.degrees_, 1)))
        self.inverse_ = np.linalg.pinv(design.T @ design)
        return self

    def predict_proba(self, X: pd.DataFrame) -> FloatArray:  # noqa: N803
        """Return 1 minus the percentile and the percentile, 0 to 1, shape (n_patients, 2)."""
        from scipy.stats import t

        values = X.to_numpy(dtype=np.float64)
        design = self._design(values[:, 1:])
        leverage = np.einsum("ij,jk,ik->i", design, self.inverse_, design)
        error = np.maximum(self.deviation_ * np.sqrt(1 + leverage), 1e-12)
        distance = (values[:, 0] - design @ self.coefficients_) / error
        percentile = np.full(len(values), 0.5)
        if self.degrees_ > 0:
            percentile = np.asarray(t.cdf(distance, self.degrees_), dtype=np.float64)
        return np.column_stack([1 - percentile, percentile])

    def _design(self, covariates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        filled = np.where(np.isnan(covariates), self.means_, covariates)
        return np.column_stack([np.ones(len(filled)), filled - self.means_])


def _mean_of_known(column: npt.NDArray[np.float64]) -> float:
    known = column[~np.isnan(column)]
    return float(known.mean()) if len(known) else 0.0
