"""Cross-validation by patient: a model per outer fold, and the scores of those it held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

import pandas as pd

from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.engine import FoldResult, fit_folds
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.fitted_model import FittedModel, prediction_tables
from mri_transfer.training.folds import Folds
from mri_transfer.training.one_fit import FitModel
from mri_transfer.training.predictions import InnerScores, PatientScores, SliceScores
from mri_transfer.training.zone_means import at_heights, fitted_zones, zone_means

__all__ = ["CrossValidation", "cross_validate"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Models, held-out scores of every outer fold, and inner scores of its training patients."""

    trained: tuple[FittedModel, ...]
    patients: PatientScores
    slices: SliceScores
    inner: InnerScores


def cross_validate(
    estimator: TransferClassifier,
    data: LabelledFeatures | Callable[[], LabelledFeatures],
    folds: Folds,
    *,
    seed: int = 0,
    only: Collection[tuple[int, int]] | None = None,
    progress: Callable[[int, int], None] | None = None,
    fit: FitModel | None = None,
) -> CrossValidation:
    """Fit a model per outer fold and score the patients it did not see.

    Parameters
    ----------
    estimator : TransferClassifier
    data : LabelledFeatures or callable
        Of the patients in `folds`. A function that reads them is called again after the fits to a
        large cohort, whose slices then need not be in memory meanwhile.
    folds : Folds
    seed : int
    only : collection of (repeat, fold), optional
        Leave out all other outer folds.
    progress : callable, optional
        Called with the number of heads fitted and the number in all.
    fit : FitModel, optional
        What makes each fit, if not `one_fit.fit_model`.

    Returns
    -------
    CrossValidation
    """
    outer = [fold for fold in folds if only is None or (fold.repeat, fold.fold) in only]
    read = data if callable(data) else lambda: data
    fitted = read()
    zones = None if fit else fitted_zones(estimator, fitted)
    if zones is not None:
        fitted = zone_means(fitted, zones)
    results = [*fit_folds(estimator, fitted, outer, seed=seed, progress=progress, fit=fit)]
    if zones is not None:
        whole = read()
        results = [at_heights(one, whole) for one in results]
    patients, slices = prediction_tables(
        [one.held_out for one in results],
        fitted.labels,
        positive_label=fitted.positive,
        negative_label=fitted.negative,
    )
    return CrossValidation(
        trained=tuple(one.fit.model for one in results),
        patients=patients,
        slices=slices,
        inner=InnerScores(table=pd.concat([_inner_rows(one) for one in results])),
    )


def _inner_rows(result: FoldResult) -> pd.DataFrame:
    """Rows of `predictions/inner.csv` of one outer fold; none if nothing was chosen in it."""
    fit = result.fit
    return pd.DataFrame(
        {
            "repeat": result.outer.repeat,
            "fold": result.outer.fold,
            "inner_fold": fit.inner_folds,
            "patient_id": list(fit.patient_ids[: len(fit.inner_scores)]),
            "score": fit.model.recalibration.apply(fit.inner_scores),
        }
    )
