"""The model against the baselines, on the same patients, folds and repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from mri_transfer.core.arrays import BoolArray, FloatArray
from mri_transfer.errors import EvaluationError, FoldError
from mri_transfer.evaluation.baselines import BaselineSpec, baseline_scores, default_baselines
from mri_transfer.evaluation.results import BaselineComparison
from mri_transfer.evaluation.settings import CohortTables, EvaluationSpec, Evidence
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.discrimination import auc
from mri_transfer.metrics.estimates import (
    FoldDifference,
    untested_difference,
    untested_fold_difference,
)
from mri_transfer.metrics.intervals import Estimate, undefined
from mri_transfer.metrics.operating_point import confusion, rates
from mri_transfer.metrics.paired import bootstrap_difference, corrected_t, mcnemar

__all__ = [
    "MAJORITY",
    "BaselineResult",
    "compare_baseline",
    "find_baselines",
    "fold_difference",
    "why_no_bar",
]


MAJORITY = "majority"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """Another model's scores of the same patients, or why there are none.

    Attributes
    ----------
    name : str
    kind : {'constant', 'covariates', 'image'}
    covariates : tuple of str
    table : DataFrame or None
        The columns of `predictions/patients.csv`.
    reason : str
        Why `table` is None.
    """

    name: str
    kind: Literal["constant", "covariates", "image"]
    covariates: tuple[str, ...] = ()
    table: pd.DataFrame | None = None
    reason: str = ""

    def arrays(self, model: ScoreArrays) -> tuple[FloatArray, BoolArray]:
        """Return scores and calls in the order of the model's, both (n_repeats, n)."""
        assert self.table is not None
        wide = self.table.pivot(index="repeat", columns="patient_id", values=["score", "predicted"])
        cells = (list(model.repeats), list(model.patient_ids))
        scores = wide["score"].loc[cells].to_numpy(dtype=np.float64)
        return scores, wide["predicted"].loc[cells].to_numpy() == model.task.positive


def find_baselines(
    cohort: CohortTables, *, spec: EvaluationSpec, evidence: Evidence, seed: int
) -> list[BaselineResult]:
    """Fit the covariate baselines on the model's folds and join those from images.

    Parameters
    ----------
    cohort : CohortTables
    spec : EvaluationSpec
    evidence : Evidence
        Whose image baselines are taken over.
    seed : int
        Of the inner splits that thresholds come from.

    Raises
    ------
    ConfigurationError
        If a configured covariate is circular or not in the table.
    """
    # Unknown covariates are an error even where baselines are switched off.
    specs = default_baselines(
        spec.covariates,
        [str(name) for name in cohort.patients],
        n_inner_folds=spec.baseline_inner_folds,
    )
    of_images = [
        BaselineResult(name=name, kind="image", table=table)
        for name, table in evidence.image_baselines.items()
    ]
    if not spec.baselines:
        return of_images
    majority = BaselineResult(name=MAJORITY, kind="constant", table=_majority(cohort))
    return [
        majority,
        *(_of_covariates(covariates, cohort, seed) for covariates in specs),
        *of_images,
    ]


def _of_covariates(spec: BaselineSpec, cohort: CohortTables, seed: int) -> BaselineResult:
    baseline = BaselineResult(name=spec.name, kind="covariates", covariates=spec.covariates)
    try:
        table = baseline_scores(
            spec, patients=cohort.patients, folds=cohort.folds, task=cohort.task, seed=seed
        )
    except (EvaluationError, FoldError) as error:
        return dataclasses.replace(baseline, reason=str(error))
    return dataclasses.replace(baseline, table=table)


def _majority(cohort: CohortTables) -> pd.DataFrame:
    """Call everybody by the commoner label of the training patients, with a score of 0 or 1.

    Not by its share: shares differ by fold, and the fold that holds more positive patients out has
    the lower one, which would pass for ranking.
    """
    folds, parts = cohort.folds, []
    for (repeat, fold), test in folds.groupby(["repeat", "fold"]):
        train = folds[(folds["repeat"] == repeat) & (folds["fold"] != fold)]
        share = float((train["label"] == cohort.task.positive).mean())
        called = cohort.task.positive if share >= 0.5 else cohort.task.negative
        parts.append(test.assign(score=float(share >= 0.5), predicted=called, n_slices=0))
    table = pd.concat(parts, ignore_index=True)
    return table[["repeat", "fold", "patient_id", "label", "score", "predicted", "n_slices"]]


def compare_baseline(
    baseline: BaselineResult,
    arrays: ScoreArrays,
    *,
    n_samples: int,
    rng: Callable[[str], np.random.Generator],
    confidence: float = 0.95,
) -> BaselineComparison:
    """Return a baseline's entry of `evaluation.json`.

    Parameters
    ----------
    baseline : BaselineResult
    arrays : ScoreArrays
        The model's scores.
    n_samples : int
        Resamples of patients.
    rng : callable
        Gives the generator of a figure by its name.
    confidence : float

    Returns
    -------
    BaselineComparison
        Every figure is undefined, with the reason, where the baseline could not be fitted, and
        every comparison where it ranks worse than guessing (see `why_no_bar`).
    """
    if baseline.table is None:
        why = f"not computable: {baseline.reason}"
        nothing = undefined(why, n=arrays.n)
        return _not_compared(baseline, nothing, nothing, why, n=arrays.n)
    model = arrays.scored
    scores, called = baseline.arrays(arrays)
    area = delong_auc(model.rescored(scores), confidence=confidence).estimate
    balanced = rates(confusion(model.positive, called), confidence=confidence)["balanced_accuracy"]
    if reason := why_no_bar(area):
        return _not_compared(baseline, area, balanced, reason, n=arrays.n)
    return BaselineComparison(
        kind=baseline.kind,
        covariates=baseline.covariates,
        auc=area,
        balanced_accuracy=balanced,
        auc_difference=delong_difference(model, scores, confidence=confidence),
        auc_difference_bootstrap=bootstrap_difference(
            model,
            scores,
            n_samples=n_samples,
            rng=rng(f"difference {baseline.name}"),
            confidence=confidence,
        ),
        auc_difference_folds=fold_difference(arrays, scores, confidence=confidence),
        mcnemar=mcnemar(arrays.called, called),
    )


def why_no_bar(area: Estimate) -> str:
    """Return why a baseline of this AUC is nothing to beat; empty where it is.

    What the labels do not differ in scores below 0.5 in stratified folds: if a fold holds out more
    women with the positive label, fewer are left to train on, and the fit leans the other way for
    just those held out. A difference from such a baseline tests the folds and not the model.
    """
    if area.value is None or area.value >= 0.5:
        return ""
    return "the baseline ranks worse than guessing, so that to beat it shows nothing"


def _not_compared(
    baseline: BaselineResult, area: Estimate, balanced: Estimate, reason: str, *, n: int
) -> BaselineComparison:
    """Return an entry without comparisons."""
    return BaselineComparison(
        kind=baseline.kind,
        covariates=baseline.covariates,
        auc=area,
        balanced_accuracy=balanced,
        auc_difference=untested_difference(reason, n=n),
        auc_difference_bootstrap=undefined(reason, n=n),
        auc_difference_folds=untested_fold_difference(reason, n=n),
        mcnemar=None,
    )


def fold_difference(
    arrays: ScoreArrays, scores: FloatArray, *, confidence: float
) -> FoldDifference:
    """Compare the AUC fold by fold, with the corrected variance of Nadeau and Bengio.

    Folds that hold patients of one label only have no AUC and are left out; `n` counts the rest.
    """
    differences, sizes = [], []
    for i in range(len(arrays.repeats)):
        for fold in np.unique(arrays.fold[i]):
            inside = arrays.fold[i] == fold
            y = arrays.positive[inside]
            if 0 < y.sum() < len(y):
                differences.append(auc(y, arrays.scores[i, inside]) - auc(y, scores[i, inside]))
                sizes.append(int(inside.sum()))
    if not differences:
        return untested_fold_difference("no fold holds patients of both labels", n=0)
    n_test = float(np.mean(sizes))
    return corrected_t(differences, n_train=arrays.n - n_test, n_test=n_test, confidence=confidence)
