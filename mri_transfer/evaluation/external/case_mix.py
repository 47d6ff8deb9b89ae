"""Case-mix: who is in a cohort, as far as it decides what a model's figures can be.

A cohort whose patients differ more from each other is easier to rank, one of harder patients makes
the same model look worse. Debray et al. (2015, J Clin Epidemiol 68:279-289) therefore compare the
mean and the standard deviation of the linear predictor, the log-odds of the score, in development
and in the new cohort. Their other way, a model that tells the cohorts apart patient by patient,
needs both cohorts' patients in one place, which a bundle does not allow.

How far case-mix alone would move the AUC is told by the AUC to expect if every score were the
right probability (van Klaveren et al. 2016, Stat Med 35:4136-4152): it depends on the scores alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.cohorts.covariates import covariate_levels, covariate_numbers, find_column
from mri_transfer.core.arrays import FloatArray
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.external.results import (
    CaseMix,
    CaseMixComparison,
    Moments,
    MomentsByLabel,
    MomentsDifference,
)
from mri_transfer.metrics.calibration import score_logits

__all__ = ["compare_case_mix", "describe_case_mix", "expected_auc"]


def describe_case_mix(
    patients: pd.DataFrame,
    scores: npt.ArrayLike,
    positive: npt.ArrayLike,
    *,
    fewest: int = 1,
) -> CaseMix:
    """Return what a cohort is like, in figures that name nobody.

    Parameters
    ----------
    patients : DataFrame
        One row a patient, with age in years and sex where they are known.
    scores : array_like of float in [0, 1], shape (n,) or (n_repeats, n)
        Of patients whom the head that scored them had not seen, in the order of `patients`.
    positive : array_like of {0, 1}, shape (n,)
    fewest : int
        Patients of a sex that may be counted. With fewer of one nothing is told of sex: what
        leaves the hospital must not point at few people.

    Returns
    -------
    CaseMix
    """
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    labels = np.asarray(positive).astype(bool)
    if rows.shape[1] != len(patients) or len(labels) != len(patients):
        raise EvaluationError(
            "scores and patients do not fit each other",
            found=f"{rows.shape[1]} scores, {len(labels)} labels, {len(patients)} patients",
        )
    logits = score_logits(rows).mean(axis=0)
    return CaseMix(
        n=len(patients),
        age=_age(patients),
        sex=_sex(patients, fewest),
        linear_predictor=MomentsByLabel(
            all=_moments(logits),
            positive=_moments(logits[labels]),
            negative=_moments(logits[~labels]),
        ),
        auc_if_calibrated=expected_auc(rows.mean(axis=0)),
    )


def expected_auc(scores: npt.ArrayLike) -> float | None:
    """Return the AUC to expect if every score is the right probability of the positive label.

    Of all pairs of patients, weighted by the chance that one is positive and the other negative,
    the share in which the positive one has the higher score; ties count a half. None if no pair
    can be one.

    Parameters
    ----------
    scores : array_like of float in [0, 1], shape (n,)
    """
    p = np.sort(np.asarray(scores, dtype=np.float64))
    values, first = np.unique(p, return_index=True)
    up = np.add.reduceat(p, first)
    down = np.add.reduceat(1.0 - p, first)
    # A patient is no pair with itself.
    tied = up * down - np.add.reduceat(p * (1.0 - p), first)
    below = np.cumsum(down) - down
    total = float(p.sum() * (1.0 - p).sum() - (p * (1.0 - p)).sum())
    if len(values) == 0 or total <= 0.0:
        return None
    return float(((up * below).sum() + 0.5 * tied.sum()) / total)


def compare_case_mix(development: CaseMix | None, cohort: CaseMix) -> CaseMixComparison:
    """Set the case-mix of a new cohort beside that of the development patients.

    Parameters
    ----------
    development : CaseMix or None
        None where the bundle does not hold it.
    cohort : CaseMix

    Returns
    -------
    CaseMixComparison
        Differences of age and linear predictor, of all and by label.
    """
    if development is None:
        note = "The bundle does not hold the case-mix of the patients it was developed on."
        return CaseMixComparison(development=None, cohort=cohort, differences={}, sentences=(note,))
    before, here = development.linear_predictor, cohort.linear_predictor
    differences = {
        "age": _difference(development.age, cohort.age),
        "linear_predictor": _difference(before.all, here.all),
        "linear_predictor_positive": _difference(before.positive, here.positive),
        "linear_predictor_negative": _difference(before.negative, here.negative),
    }
    return CaseMixComparison(
        development=development,
        cohort=cohort,
        differences=differences,
        sentences=tuple(_sentences(development, cohort, differences["linear_predictor"])),
    )


def _moments(values: FloatArray, n_missing: int | None = None) -> Moments:
    return Moments(
        mean=float(values.mean()) if len(values) else None,
        sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        n=len(values),
        n_missing=n_missing,
    )


def _age(patients: pd.DataFrame) -> Moments:
    column = find_column(patients, ["age"])
    values = np.full(len(patients), np.nan)
    if column is not None:
        values = covariate_numbers(patients, column)
    known = values[np.isfinite(values)]
    return _moments(known, n_missing=len(values) - len(known))


def _sex(patients: pd.DataFrame, fewest: int) -> dict[str, int]:
    column = find_column(patients, ["sex", "gender"])
    if column is None:
        return {}
    levels = covariate_levels(patients, column).tolist()
    counts = {str(level) or "not known": levels.count(level) for level in sorted(set(levels))}
    return {} if min(counts.values(), default=0) < fewest else counts


def _difference(first: Moments, second: Moments) -> MomentsDifference:
    """Return second against first: the difference of means, and the ratio of spreads."""
    if first.mean is None or second.mean is None:
        return MomentsDifference(difference=None, standardised=None, sd_ratio=None)
    difference = second.mean - first.mean
    if not first.sd or second.sd is None:
        return MomentsDifference(difference=difference, standardised=None, sd_ratio=None)
    pooled = math.sqrt((first.sd**2 + second.sd**2) / 2.0)
    return MomentsDifference(
        difference=difference, standardised=difference / pooled, sd_ratio=second.sd / first.sd
    )


def _sentences(
    development: CaseMix, cohort: CaseMix, difference: MomentsDifference
) -> Sequence[str]:
    said = []
    ratio, moved = difference.sd_ratio, difference.standardised
    if ratio is not None and moved is not None:
        spread = "about as much here as"
        if not 0.9 <= ratio <= 1.1:
            spread = "more here than" if ratio > 1.1 else "less here than"
        mean = "higher" if moved > 0.1 else "lower" if moved < -0.1 else "about the same"
        by = f"{round(moved, 2) + 0.0:+.2f}"
        said.append(
            f"Log-odds of the scores spread {spread} in development (ratio of standard "
            f"deviations {ratio:.2f}), and their mean is {mean} (by {by} standard "
            "deviations)."
        )
    before, here = development.auc_if_calibrated, cohort.auc_if_calibrated
    if before is not None and here is not None:
        said.append(
            "Were every score the right probability, the spread of the scores alone would give an "
            f"AUC of {here:.2f} here and of {before:.2f} in development: the part of a change in "
            "AUC that case-mix explains."
        )
    return said
