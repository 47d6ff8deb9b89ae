"""How a covariate goes with the label and with the score, and what that amounts to in words."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from mri_transfer.core.arrays import FloatArray, IntArray, TextArray
from mri_transfer.evaluation.audit.shortcut_results import (
    AgeAndLabel,
    LevelsAndLabel,
    LevelsAndScore,
    Verdict,
)
from mri_transfer.evaluation.caveats import standardised_mean_difference
from mri_transfer.metrics.intervals import Estimate, bootstrap_mean, patient_bootstrap, undefined

__all__ = [
    "age_association",
    "judge",
    "level_association",
    "rank_correlation",
    "score_by_level",
]


#: Cramér's V or standardised difference from which a covariate goes with the label (.1 is the
#: usual limit of a negligible difference between groups: Austin 2009, Stat Med 28:3083-3107),
#: and the p value up to which the features are said to tell a covariate.
_ASSOCIATED = 0.1
_READ_P = 0.05

_METHOD = "patient bootstrap, percentile"

_MEANING = {
    "possible": "the score may owe part of its success to it",
    "readable": "in this cohort the score can owe little to it; in another it may",
    "not shown": "a shortcut through it is not shown, but a small cohort cannot rule it out",
}


def age_association(age: FloatArray, groups: Mapping[str, IntArray]) -> AgeAndLabel:
    """Return the largest standardised difference in age between two labels, and a p value.

    Parameters
    ----------
    age : ndarray of float64, shape (n,)
    groups : mapping of label to positions
        Of patients whose age is known.

    Returns
    -------
    AgeAndLabel
        The value is first label minus second, p that of Kruskal and Wallis's rank test.
    """
    from scipy.stats import kruskal

    differences = []
    for first, second in itertools.combinations(groups, 2):
        smd = standardised_mean_difference(age[groups[first]], age[groups[second]])
        if smd is not None:
            differences.append((smd, (first, second)))
    statistic = "standardised mean difference"
    if not differences:
        return AgeAndLabel(statistic=statistic, value=None, between=None, p=None)
    value, between = max(differences, key=lambda pair: abs(pair[0]))
    p = float(kruskal(*(age[group] for group in groups.values() if len(group))).pvalue)
    return AgeAndLabel(statistic=statistic, value=value, between=between, p=p)


def level_association(levels: TextArray, groups: Mapping[str, IntArray]) -> LevelsAndLabel:
    """Return Cramér's V of a covariate and the label, and the p value of the chi-squared test.

    Parameters
    ----------
    levels : ndarray of text, shape (n,)
    groups : mapping of label to positions
        Of patients whose level is known.

    Returns
    -------
    LevelsAndLabel
        Value and p are None where a single level or label occurs.
    """
    from scipy.stats import chi2_contingency
    from scipy.stats.contingency import association

    names = sorted({str(level) for group in groups.values() for level in levels[group]})
    table = np.array(
        [[int((levels[group] == name).sum()) for name in names] for group in groups.values()]
    ).reshape(len(groups), len(names))
    counts = {
        label: dict(zip(names, row, strict=True))
        for label, row in zip(groups, table.tolist(), strict=True)
    }
    value = p = None
    table = table[table.sum(axis=1) > 0]
    if min(table.shape) >= 2:
        value = float(association(table, method="cramer"))
        p = float(chi2_contingency(table, correction=False).pvalue)
    return LevelsAndLabel(statistic="Cramér's V", counts=counts, value=value, p=p)


def rank_correlation(
    score: FloatArray,
    age: FloatArray,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> Estimate:
    """Return Spearman's correlation of score and age, with a patient bootstrap interval."""
    from scipy.stats import rankdata

    if len(score) < 3:
        return undefined("three patients are needed", n=len(score), method=_METHOD)

    def statistic(indices: IntArray) -> FloatArray:
        first, second = (
            rankdata(values[indices], axis=1) - (len(values) + 1) / 2 for values in (score, age)
        )
        scale = np.sqrt(np.square(first).sum(axis=1) * np.square(second).sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((first * second).sum(axis=1) / scale, dtype=np.float64)

    return dataclasses.replace(
        patient_bootstrap(
            statistic,
            np.zeros(len(score)),
            n_samples=n_samples,
            rng=rng,
            confidence=confidence,
            batched=True,
        ),
        method=_METHOD,
    )


def score_by_level(
    score: FloatArray,
    levels: TextArray,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> LevelsAndScore:
    """Return the mean score of each level, and the p value of Kruskal and Wallis's rank test.

    Parameters
    ----------
    score : ndarray of float64, shape (n,)
        Of patients of one label.
    levels : ndarray of text, shape (n,)

    Returns
    -------
    LevelsAndScore
        p is None for a single level or constant scores.
    """
    from scipy.stats import kruskal

    parts = {str(name): score[levels == name] for name in sorted(set(levels))}
    means = {
        name: dataclasses.replace(
            bootstrap_mean(part, n_samples=n_samples, rng=rng, confidence=confidence),
            method=_METHOD,
        )
        for name, part in parts.items()
    }
    p = None
    if len(parts) > 1 and np.ptp(score) > 0:
        p = float(kruskal(*parts.values()).pvalue)
    return LevelsAndScore(mean_score=means, p=p)


def judge(
    covariate: str,
    association: AgeAndLabel | LevelsAndLabel,
    *,
    n: int,
    pooled: Estimate,
    p: float | None,
) -> tuple[Verdict, str]:
    """Return the verdict on a covariate and a sentence that gives the grounds.

    Parameters
    ----------
    covariate : str
    association : AgeAndLabel or LevelsAndLabel
    n : int
        Patients of whom the covariate is known.
    pooled : Estimate
        What the features tell of it, over all labels: R² of age, AUC of levels.
    p : float or None
        Of that figure.
    """
    size = association.value
    goes_along = size is not None and abs(size) >= _ASSOCIATED
    if p is None and size is not None and abs(size) > 1.0 - 1e-9:
        return (
            "confounded",
            f"Every {covariate} has patients of one label only: this cohort cannot show whether "
            f"the score reflects disease or {covariate}.",
        )
    if n == 0:
        return "unknown", f"No patient's {covariate} is recorded."
    if p is None:
        return (
            "unknown",
            f"Whether the features predict {covariate} could not be tested: {pooled.reason}.",
        )
    verdict: Verdict = "not shown"
    if p <= _READ_P:
        verdict = "possible" if goes_along else "readable"
    interval = "" if pooled.interval is None else " ({:.2f} to {:.2f})".format(*pooled.interval)
    measure = "R²" if covariate == "age" else "AUC"
    grounds = f"{measure} {pooled.value:.2f}{interval}, p = {p:.3f}".replace("-", "\u2212")
    with_label = "has an unknown association with the label"
    if size is not None:
        associated = "is" if goes_along else "is hardly"
        with_label = (
            f"{associated} associated with the label here ({association.statistic} {size:.2f})"
        )
    predict = "are not shown to predict" if verdict == "not shown" else "predict"
    return (
        verdict,
        f"Among patients of one label the features {predict} {covariate} ({grounds}), and "
        f"{covariate} {with_label}: {_MEANING[verdict]}.",
    )
