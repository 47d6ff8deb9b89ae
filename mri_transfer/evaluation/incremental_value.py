"""Whether the image adds to what is known without it: the joined model against covariates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.errors import EvaluationError, FoldError
from mri_transfer.evaluation.added_value import joined_scores
from mri_transfer.evaluation.baselines import BaselineSpec
from mri_transfer.evaluation.comparison import BaselineResult, why_no_bar
from mri_transfer.evaluation.likelihood_ratio import covariate_matrix, likelihood_ratio_test
from mri_transfer.evaluation.results import IncrementalValue
from mri_transfer.evaluation.settings import CohortTables, EvaluationSpec, Evidence
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.calibration import score_logits
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.estimates import untested_difference
from mri_transfer.metrics.intervals import undefined
from mri_transfer.metrics.paired import bootstrap_difference

__all__ = ["incremental_value"]


def incremental_value(
    arrays: ScoreArrays,
    baselines: Sequence[BaselineResult],
    cohort: CohortTables,
    *,
    spec: EvaluationSpec,
    evidence: Evidence,
    seed: int,
    rng: Callable[[str], np.random.Generator],
) -> dict[str, IncrementalValue]:
    """Ask of the richest sets of covariates what the image adds to them.

    A set that another one contains is passed over.

    Parameters
    ----------
    arrays : ScoreArrays
        The model's scores.
    baselines : sequence of BaselineResult
        Those of covariates are joined with the image.
    cohort : CohortTables
    spec : EvaluationSpec
    evidence : Evidence
        Whose inner scores teach the joined model what an image score of an unseen patient is
        worth.
    seed : int
        Of the inner splits that thresholds come from.
    rng : callable
        Gives the generator of a figure by its name.

    Returns
    -------
    dict
        By the covariates' name: joined_auc, joined_minus_covariates (the answer) and
        joined_minus_image by DeLong and by bootstrap, or `reason` where the joined model could
        not be fitted; and likelihood_ratio_test on held-out scores.
    """
    values = {}
    logits = score_logits(arrays.scores).mean(axis=0)
    for baseline in _richest(baselines):
        figures: dict[str, Any]
        try:
            joined = _joined(baseline, arrays, cohort, spec, evidence, seed)
        except (EvaluationError, FoldError) as error:
            figures = {"reason": f"no joined model: {error}"}
        else:
            figures = _differences(joined, baseline, arrays, spec, rng)
        # Last, as its p value holds under more assumptions than the difference of two AUCs.
        test = likelihood_ratio_test(
            arrays.positive,
            covariate_matrix(cohort.patients, baseline.covariates),
            logits,
            confidence=spec.confidence,
        )
        values[baseline.name] = IncrementalValue(
            covariates=baseline.covariates, likelihood_ratio_test=test, **figures
        )
    return values


def _richest(baselines: Sequence[BaselineResult]) -> list[BaselineResult]:
    fitted = [base for base in baselines if base.kind == "covariates" and base.table is not None]
    sets = [set(base.covariates) for base in fitted]
    return [base for base in fitted if not any(set(base.covariates) < larger for larger in sets)]


def _joined(
    baseline: BaselineResult,
    arrays: ScoreArrays,
    cohort: CohortTables,
    spec: EvaluationSpec,
    evidence: Evidence,
    seed: int,
) -> BaselineResult:
    inner = evidence.inner_scores
    if inner is None or inner.empty:
        raise EvaluationError(
            "no inner scores of training patients: nothing was chosen inside them",
            remedy="Let the threshold or the recalibration be set on inner scores",
        )
    rows = [
        (repeat, int(arrays.fold[i, k]), name, arrays.scores[i, k])
        for i, repeat in enumerate(arrays.repeats)
        for k, name in enumerate(arrays.patient_ids)
    ]
    table = joined_scores(
        BaselineSpec(covariates=baseline.covariates, n_inner_folds=spec.baseline_inner_folds),
        inner_scores=inner,
        outer_scores=pd.DataFrame(rows, columns=["repeat", "fold", "patient_id", "score"]),
        patients=cohort.patients,
        folds=cohort.folds,
        seed=seed,
        task=cohort.task,
    )
    return BaselineResult(name=f"{baseline.name} + image", kind="image", table=table)


def _differences(
    joined: BaselineResult,
    baseline: BaselineResult,
    arrays: ScoreArrays,
    spec: EvaluationSpec,
    rng: Callable[[str], np.random.Generator],
) -> dict[str, Any]:
    confidence = spec.confidence
    both = arrays.scored.rescored(joined.arrays(arrays)[0])
    covariates = both.rescored(baseline.arrays(arrays)[0])
    figures: dict[str, Any] = {"joined_auc": delong_auc(both, confidence=confidence).estimate}
    no_bar = why_no_bar(delong_auc(covariates, confidence=confidence).estimate)
    for name, alone in (("covariates", covariates.scores), ("image", arrays.scores)):
        difference, bootstrap = f"joined_minus_{name}", f"joined_minus_{name}_bootstrap"
        if no_bar and name == "covariates":
            figures[difference] = untested_difference(no_bar, n=arrays.n)
            figures[bootstrap] = undefined(no_bar, n=arrays.n)
            continue
        figures[difference] = delong_difference(both, alone, confidence=confidence)
        figures[bootstrap] = bootstrap_difference(
            both,
            alone,
            n_samples=spec.bootstrap_samples,
            rng=rng(f"joined {baseline.name} minus {name}"),
            confidence=confidence,
        )
    return figures
