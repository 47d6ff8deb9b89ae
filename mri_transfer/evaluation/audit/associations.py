"""How a covariate goes with the label and with the score, and what that amounts to in words."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.evaluation.caveats import standardised_mean_difference
from mri_transfer.metrics.intervals import Estimate, patient_bootstrap, undefined

__all__ = [
    "age_association",
    "judge",
    "level_association",
    "rank_correlation",
    "score_by_level",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TextArray = npt.NDArray[np.object_]

#: Cramér's V or standardised difference from which a covariate goes with the label (.1 is the
#: usual limit of a negligible difference between groups: Austin 2009, Stat Med 28:3083-3107),
#: and the p value up to which the features are said to tell a covariate.
_ASSOCIATED = 0.1
_READ_P = 0.05

_METHOD = "patient bootstrap, percentile"


def age_association(age: FloatArray, groups: Mapping[str, IntArray]) -> dict[str, Any]:
    """Return the largest standardised difference in age between two labels, and a p value.

    Parameters
    ----------
    age : ndarray of float64, shape (n,)
    groups : mapping of label to positions
        Of patients whose age is known.

    Returns
    -------
    dict
        statistic, value (first label minus second), between (the two labels) and p, of Kruskal
        and Wallis's rank test; None where undefined.
    """
    from scipy.stats import kruskal

    differences = []
    for first, second in itertools.combinations(groups, 2):
        smd = standardised_mean_difference(age[groups[first]], age[groups[second]])
        if smd is not None:
            differences.append((smd, [first, second]))
    entry: dict[str, Any] = {"statistic": "standardised mean difference"}
    if not differences:
        return {**entry, "value": None, "between": None, "p": None}
    value, between = max(differences, key=lambda pair: abs(pair[0]))
    p = kruskal(*(age[group] for group in groups.values() if len(group))).pvalue
    return {**entry, "value": value, "between": between, "p": float(p)}


def level_association(levels: TextArray, groups: Mapping[str, IntArray]) -> dict[str, Any]:
    """Return Cramér's V of a covariate and the label, and the p value of the chi-squared test.

    Parameters
    ----------
    levels : ndarray of text, shape (n,)
    groups : mapping of label to positions
        Of patients whose level is known.

    Returns
    -------
    dict
        statistic, value (0: independent, 1: one determines the other), p, and counts by label
        and level; value and p are None where a single level or label occurs.
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
    entry: dict[str, Any] = {"statistic": "Cramér's V", "counts": counts}
    table = table[table.sum(axis=1) > 0]
    if min(table.shape) < 2:
        return {**entry, "value": None, "p": None}
    p = chi2_contingency(table, correction=False).pvalue
    return {**entry, "value": float(association(table, method="cramer")), "p": float(p)}


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

    return _bootstrap(statistic, np.zeros(len(score)), n_samples, rng, confidence)


def score_by_level(
    score: FloatArray,
    levels: TextArray,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> dict[str, Any]:
    """Return the mean score of each level, and the p value of Kruskal and Wallis's rank test.

    Parameters
    ----------
    score : ndarray of float64, shape (n,)
        Of patients of one label.
    levels : ndarray of text, shape (n,)

    Returns
    -------
    dict
        mean_score (an estimate a level) and p; p is None for a single level or constant scores.
    """
    from scipy.stats import kruskal

    parts = {str(name): score[levels == name] for name in sorted(set(levels))}
    means = {
        name: _bootstrap(
            lambda indices, part=part: part[indices].mean(axis=1),
            np.zeros(len(part)),
            n_samples,
            rng,
            confidence,
        ).as_dict()
        for name, part in parts.items()
    }
    p = None
    if len(parts) > 1 and np.ptp(score) > 0:
        p = float(kruskal(*parts.values()).pvalue)
    return {"mean_score": means, "p": p}


def _bootstrap(
    statistic: Any,
    strata: npt.ArrayLike,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> Estimate:
    found = patient_bootstrap(
        statistic, strata, n_samples=n_samples, rng=rng, confidence=confidence, batched=True
    )
    return dataclasses.replace(found, method=_METHOD)


def judge(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the verdict on a covariate and a sentence that gives the grounds.

    Parameters
    ----------
    entry : mapping
        An entry of `find_shortcuts`, all but its verdict.
    """
    name, p = entry["covariate"], entry["p"]
    association = entry["label_association"]["value"]
    goes_along = association is not None and abs(association) >= _ASSOCIATED
    if p is None and association is not None and abs(association) > 1.0 - 1e-9:
        return {
            "verdict": "confounded",
            "sentence": f"Every {name} has patients of one label only: whether the score tells "
            f"disease or {name} cannot be decided from this cohort.",
        }
    if entry["n"] == 0:
        return {"verdict": "unknown", "sentence": f"No patient's {name} is recorded."}
    if p is None:
        return {
            "verdict": "unknown",
            "sentence": f"Whether the features tell {name} could not be tested: "
            f"{_first(entry['pooled'])['reason']}.",
        }
    read = p <= _READ_P
    verdict = ("possible" if goes_along else "readable") if read else "not shown"
    return {"verdict": verdict, "sentence": _sentence(entry, verdict, goes_along)}


def _first(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    first: Mapping[str, Any] = next(iter(figures.values()))
    return first


def _sentence(entry: Mapping[str, Any], verdict: str, goes_along: bool) -> str:
    name, association = entry["covariate"], entry["label_association"]
    figure = _first(entry["pooled"])
    interval = ""
    if figure["ci_low"] is not None:
        interval = f" ({figure['ci_low']:.2f} to {figure['ci_high']:.2f})"
    measure = "R²" if name == "age" else "AUC"
    grounds = f"{measure} {figure['value']:.2f}{interval}, p = {entry['p']:.3f}"
    tells = "do not show" if verdict == "not shown" else "tell"
    with_label = "is not known to go with the label"
    if association["value"] is not None:
        size = f"{association['statistic']} {association['value']:.2f}"
        with_label = f"{'goes' if goes_along else 'hardly goes'} with the label here ({size})"
    meaning = {
        "possible": "the score may owe part of its success to it",
        "readable": "the score can owe little of its success to it in this cohort, and may in "
        "another",
        "not shown": "a shortcut by it is not shown, which in a small cohort does not rule it out",
    }
    return (
        f"Among patients of one label the features {tells} {name} ({grounds}), and {name} "
        f"{with_label}: {meaning[verdict]}."
    )
