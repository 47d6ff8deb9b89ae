"""Whether the image adds to what is known without it: the joined model against covariates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.errors import EvaluationError, FoldError
from mri_transfer.evaluation.added_value import joined_scores
from mri_transfer.evaluation.baselines import BaselineSpec
from mri_transfer.evaluation.comparison import Rival, why_no_bar
from mri_transfer.evaluation.likelihood_ratio import covariate_matrix, likelihood_ratio_test
from mri_transfer.evaluation.results import ImageValue
from mri_transfer.evaluation.settings import CohortTables, EvaluationSpec, Evidence
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.calibration import score_logits
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.estimates import undefined_difference
from mri_transfer.metrics.intervals import undefined
from mri_transfer.metrics.paired import bootstrap_difference

__all__ = ["image_value"]


def image_value(
    arrays: ScoreArrays,
    rivals: Sequence[Rival],
    cohort: CohortTables,
    *,
    spec: EvaluationSpec,
    evidence: Evidence,
    seed: int,
    rng: Callable[[str], np.random.Generator],
) -> dict[str, ImageValue]:
    """Ask of the richest sets of covariates what the image adds to them.

    A set that another one contains is passed over.

    Parameters
    ----------
    arrays : ScoreArrays
        The model's scores.
    rivals : sequence of Rival
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
    found = {}
    logits = score_logits(arrays.scores).mean(axis=0)
    for rival in _richest(rivals):
        entry: dict[str, Any]
        try:
            joined = _joined(rival, arrays, cohort, spec, evidence, seed)
        except (EvaluationError, FoldError) as error:
            entry = {"reason": f"no joined model: {error}"}
        else:
            entry = _differences(joined, rival, arrays, spec, rng)
        # Last, as its p value holds under more assumptions than the difference of two AUCs.
        test = likelihood_ratio_test(
            arrays.positive,
            covariate_matrix(cohort.patients, rival.covariates),
            logits,
            confidence=spec.confidence,
        )
        found[rival.name] = ImageValue(
            covariates=rival.covariates, likelihood_ratio_test=test, **entry
        )
    return found


def _richest(rivals: Sequence[Rival]) -> list[Rival]:
    found = [one for one in rivals if one.kind == "covariates" and one.table is not None]
    sets = [set(one.covariates) for one in found]
    return [one for one in found if not any(set(one.covariates) < other for other in sets)]


def _joined(
    rival: Rival,
    arrays: ScoreArrays,
    cohort: CohortTables,
    spec: EvaluationSpec,
    evidence: Evidence,
    seed: int,
) -> Rival:
    inner = evidence.inner_scores
    if inner is None or inner.empty:
        raise EvaluationError(
            "no inner scores of training patients: nothing was chosen inside them",
            remedy="Let the threshold or the recalibration be set on inner scores",
        )
    place = [
        (repeat, int(arrays.fold[i, k]), name, arrays.scores[i, k])
        for i, repeat in enumerate(arrays.repeats)
        for k, name in enumerate(arrays.patient_ids)
    ]
    table = joined_scores(
        BaselineSpec(covariates=rival.covariates, n_inner_folds=spec.baseline_inner_folds),
        inner_scores=inner,
        outer_scores=pd.DataFrame(place, columns=["repeat", "fold", "patient_id", "score"]),
        patients=cohort.patients,
        folds=cohort.folds,
        seed=seed,
        task=cohort.task,
    )
    return Rival(name=f"{rival.name} + image", kind="image", table=table)


def _differences(
    joined: Rival,
    rival: Rival,
    arrays: ScoreArrays,
    spec: EvaluationSpec,
    rng: Callable[[str], np.random.Generator],
) -> dict[str, Any]:
    y, confidence = arrays.positive, spec.confidence
    scores, _ = joined.arrays(arrays)
    entry: dict[str, Any] = {"joined_auc": delong_auc(y, scores, confidence=confidence).estimate}
    alone = rival.arrays(arrays)[0]
    for name, other in (("covariates", alone), ("image", arrays.scores)):
        reason = why_no_bar(delong_auc(y, other, confidence=confidence).estimate)
        if reason and name == "covariates":
            entry[f"joined_minus_{name}"] = undefined_difference(reason, n=arrays.n)
            nothing = undefined(reason, n=arrays.n, method="none")
            entry[f"joined_minus_{name}_bootstrap"] = nothing
            continue
        entry[f"joined_minus_{name}"] = delong_difference(y, scores, other, confidence=confidence)
        entry[f"joined_minus_{name}_bootstrap"] = bootstrap_difference(
            y,
            scores,
            other,
            n_samples=spec.bootstrap_samples,
            rng=rng(f"joined {rival.name} minus {name}"),
            confidence=confidence,
        )
    return entry
