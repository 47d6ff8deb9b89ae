"""Scores of a model that joins the image with covariates, fitted inside the folds.

To be compared with covariates alone by `delong_difference`. Everything here takes scores of
patients that the image's model did not see.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mri_transfer.core.arrays import FloatArray
from mri_transfer.errors import PredictionError
from mri_transfer.evaluation.baselines import (
    BaselineSpec,
    covariate_design,
    covariate_model,
    score_folds,
)
from mri_transfer.metrics.calibration import CLIP
from mri_transfer.metrics.task import Task

__all__ = ["joined_scores"]


#: The column that the image's logit takes beside the covariates.
_IMAGE = "logit of the image's score"


def joined_scores(
    spec: BaselineSpec,
    *,
    inner_scores: pd.DataFrame,
    outer_scores: pd.DataFrame,
    patients: pd.DataFrame,
    folds: pd.DataFrame,
    task: Task,
    seed: int,
) -> pd.DataFrame:
    """Score every patient by covariates and the image together, fitted without their fold.

    In each outer fold a logistic regression (that of the baselines, with one column more) learns
    from the training patients' covariates and from scores that inner cross-validation gave them:
    scores of the head that was fitted to these patients would look better than any it gives to
    others, and the image would be trusted too much (Wolpert 1992, Neural Netw 5:241-259). It is
    applied to the test patients with the scores of the outer head.

    Parameters
    ----------
    spec : BaselineSpec
        The covariates, the penalty, and the inner folds that the threshold comes from.
    inner_scores : DataFrame
        Columns repeat, fold, patient_id, score: every training patient of that outer fold, once,
        with the score of an inner head that did not see the patient.
    outer_scores : DataFrame
        Columns repeat, fold, patient_id, score: the test patients, as in
        `predictions/patients.csv`.
    patients, folds, task, seed
        As in `baseline_scores`.

    Returns
    -------
    DataFrame
        As `baseline_scores`.

    Raises
    ------
    ConfigurationError
        If a covariate is not in the table.
    PredictionError
        If a patient has no score, or more than one, where one is needed, or a training patient's
        scores hold a patient of the test fold.
    EvaluationError
        If a covariate is missing for all training patients of a fold.
    """
    design = covariate_design(patients, spec.covariates)
    inner, outer = _by_fold(inner_scores, "inner"), _by_fold(outer_scores, "outer")
    shape = design.assign(**{_IMAGE: 0.0})

    def designs(
        key: tuple[int, int], train: pd.Series, test: pd.Series
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        known, unseen = design.loc[train], design.loc[test]
        return (
            known.assign(**{_IMAGE: _logits(inner, key, train, "inner")}),
            unseen.assign(**{_IMAGE: _logits(outer, key, test, "outer")}),
        )

    return score_folds(
        covariate_model(shape, spec.regularisation_c),
        designs,
        folds=folds,
        task=task,
        n_inner_folds=spec.n_inner_folds,
        seed=seed,
    )


def _by_fold(table: pd.DataFrame, kind: str) -> dict[tuple[int, int], pd.Series]:
    keys = ["repeat", "fold", "patient_id"]
    if table.duplicated(keys).any():
        raise PredictionError(f"a patient has two {kind} scores in one fold")
    score = table["score"].to_numpy(dtype=np.float64)
    if not ((score >= 0.0) & (score <= 1.0)).all():
        raise PredictionError(f"{kind} scores must lie between 0 and 1")
    return {
        (int(rows["repeat"].iloc[0]), int(rows["fold"].iloc[0])): rows.set_index("patient_id")[
            "score"
        ]
        for _, rows in table.groupby(["repeat", "fold"])
    }


def _logits(
    scores: dict[tuple[int, int], pd.Series], key: tuple[int, int], ids: pd.Series, kind: str
) -> FloatArray:
    """Return the log-odds of exactly these patients' scores, in their order."""
    from scipy.special import logit

    known_scores = scores.get(key)
    if known_scores is None or set(known_scores.index) != set(ids):
        given = set() if known_scores is None else set(known_scores.index)
        raise PredictionError(
            f"the {kind} scores of a fold are not those of its patients",
            where=f"repeat {key[0]}, fold {key[1]}",
            found=f"{len(set(ids) - given)} patients missing, {len(given - set(ids))} too many",
            expected="one score for each "
            + ("training patient" if kind == "inner" else "test patient"),
        )
    values = np.clip(known_scores.loc[ids].to_numpy(dtype=np.float64), CLIP, 1.0 - CLIP)
    return np.asarray(logit(values), dtype=np.float64)
