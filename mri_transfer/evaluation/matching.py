"""Does the score tell patients apart who are equally old? Matching and overlap weighting.

A cohort whose patients with the positive label are older rewards a model that reads age. Two
answers, each on the held-out scores as they are: patients of the two labels are paired by age, so
that age can no longer tell them apart; or all patients are kept and weighted until both labels
have the same mean age. Age itself is taken through the same steps as a score, so that one sees
that it stops discriminating.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.cohorts.covariates import covariate_levels, covariate_numbers, find_column
from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray, TextArray
from mri_transfer.evaluation.covariates import check_order
from mri_transfer.evaluation.group_results import (
    AgeBalance,
    AgeMatched,
    EffectiveNumbers,
    MatchedPairs,
    Weighted,
)
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.balancing import match_pairs, overlap_weights, pair_wins, weighted_auc
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.discrimination import patient_weights
from mri_transfer.metrics.intervals import Estimate, exact_proportion, patient_bootstrap, undefined
from mri_transfer.metrics.ranked_pairs import RankedPairs

__all__ = ["age_matched"]


#: Fewer pairs than this are not evaluated: the interval of an AUC would be about .4 wide.
MIN_PAIRS = 10
#: Pairs are made of so many patients at most, drawn with the seed.
MAX_MATCHED = 4000


def age_matched(
    arrays: ScoreArrays,
    patients: pd.DataFrame,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    caliper_years: float = 2.5,
    match_sex: bool = False,
) -> AgeMatched:
    """Evaluate the scores among patients of the same age, by matching and by weighting.

    Parameters
    ----------
    arrays : ScoreArrays
    patients : DataFrame
        Indexed by patient_id in the order of `arrays`; column age in years, and sex if known.
        Patients without an age are left out and counted.
    n_samples : int
        Resamples behind each interval. Pairs are drawn as they were matched; for the weighted
        figures patients are drawn inside each label and the weights estimated anew.
    rng : numpy.random.Generator
    confidence : float
    caliper_years : float
        Largest difference in age inside a pair.
    match_sex : bool
        Pair patients of the same sex only.

    Returns
    -------
    AgeMatched
        With fewer than `MIN_PAIRS` pairs, or
        without ages, the figures are undefined and say why.

    Raises
    ------
    EvaluationError
        If the patients are not those of the scores, in their order.
    """
    check_order(arrays, patients)
    age_column = find_column(patients, ["age"])
    age = np.full(arrays.n, np.nan)
    if age_column is not None:
        age = covariate_numbers(patients, age_column)
    known = np.isfinite(age)
    sex_column = find_column(patients, ["sex"])
    sex = None if sex_column is None else covariate_levels(patients, sex_column)[known]
    setting = _Setting(
        positive=arrays.positive[known],
        as_scores={"auc": arrays.scores[:, known], "age_auc": age[known][None, :]},
        age=age[known],
        sex=sex,
        n_samples=n_samples,
        seed=int(rng.integers(2**63)),
        confidence=confidence,
    )
    everybody = _among_all(setting)
    matched = _among_pairs(setting, caliper_years, match_sex)
    weighted = _among_weighted(setting)
    return AgeMatched(
        caliper_years=caliper_years,
        matched_on=("age", "sex") if match_sex else ("age",),
        n_patients=int(known.sum()),
        n_age_missing=int((~known).sum()),
        all=everybody,
        matched=matched,
        weighted=weighted,
        sentence=_sentence(everybody, matched, weighted, n=len(setting.positive)),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Setting:
    """The patients whose age is known, what is evaluated on them, and how intervals are made."""

    positive: BoolArray
    as_scores: dict[str, FloatArray]
    age: FloatArray
    sex: TextArray | None
    n_samples: int
    seed: int
    confidence: float

    def bootstrap(
        self, statistic: Callable[[IntArray], FloatArray], strata: npt.ArrayLike, method: str
    ) -> Estimate:
        estimate = patient_bootstrap(
            statistic,
            strata,
            n_samples=self.n_samples,
            # The same resamples for the model and for age.
            rng=np.random.default_rng(self.seed),
            confidence=self.confidence,
            batched=True,
        )
        return dataclasses.replace(estimate, method=method)

    def balanced(self, weights: FloatArray, auc: Estimate, age_auc: Estimate) -> AgeBalance:
        """Compare weighted mean ages, in years and in standard deviations of all patients.

        The unit stays that of all patients, so that a smaller figure after matching means a
        smaller difference and not a wider spread (Stuart 2010, Stat Sci 25:1-21).
        """
        upper, lower = self.age[self.positive], self.age[~self.positive]
        difference = float(
            np.average(upper, weights=weights[self.positive])
            - np.average(lower, weights=weights[~self.positive])
        )
        spread = np.sqrt((upper.var(ddof=1) + lower.var(ddof=1)) / 2.0)
        smd = difference / float(spread) if spread > 0 else None
        return AgeBalance(auc=auc, age_auc=age_auc, age_difference_years=difference, age_smd=smd)

    @property
    def drawn(self) -> IntArray:
        """Positions of the patients who are matched: all of them, or a sample of a large cohort.

        The time that optimal matching takes grows with the third power of their number.
        """
        n = len(self.positive)
        if n <= MAX_MATCHED:
            return np.arange(n)
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(n, MAX_MATCHED, replace=False))

    def too_few(self) -> str | None:
        """Return why nothing can be said at all; None if something can."""
        n_positive = int(self.positive.sum())
        n_negative = len(self.positive) - n_positive
        if not len(self.positive):
            return "no patient's age is known"
        if min(n_positive, n_negative) < 2:
            return (
                f"the age of {n_positive} positive and {n_negative} negative patients is known; "
                "two of each are needed"
            )
        return None


def _without(reason: str, n: int) -> AgeBalance:
    nothing = undefined(reason, n=n, method="none")
    return AgeBalance(auc=nothing, age_auc=nothing, age_difference_years=None, age_smd=None)


def _no_pairs(reason: str, n: int, n_pairs: int) -> MatchedPairs:
    nothing = undefined(reason, n=n, method="none")
    return MatchedPairs(n_pairs=n_pairs, won_within_pairs=nothing, **dict(_without(reason, n)))


def _among_all(setting: _Setting) -> AgeBalance:
    reason = setting.too_few()
    if reason is not None:
        return _without(reason, len(setting.positive))
    aucs = {
        name: delong_auc(setting.positive, scores, confidence=setting.confidence).estimate
        for name, scores in setting.as_scores.items()
    }
    return setting.balanced(np.ones(len(setting.positive)), **aucs)


def _among_pairs(setting: _Setting, caliper_years: float, match_sex: bool) -> MatchedPairs:
    n = len(setting.positive)
    if setting.too_few() is not None or (match_sex and setting.sex is None):
        reason = setting.too_few() or "no patient's sex is known"
        return _no_pairs(reason, n, 0)
    drawn = setting.drawn
    upper, lower = (
        drawn[side]
        for side in match_pairs(
            setting.positive[drawn],
            setting.age[drawn],
            caliper_years=caliper_years,
            strata=None if setting.sex is None or not match_sex else setting.sex[drawn],
        )
    )
    k = len(upper)
    if k < MIN_PAIRS:
        reason = f"{k} pairs of patients within {caliper_years:g} years; {MIN_PAIRS} are needed"
        return _no_pairs(reason, 2 * k, k)
    aucs = {}
    for name, scores in setting.as_scores.items():
        wins = pair_wins(scores[:, upper], scores[:, lower])

        def statistic(pairs: IntArray, wins: FloatArray | RankedPairs = wins) -> FloatArray:
            counts = patient_weights(pairs, k)
            return weighted_auc(wins, counts, counts)

        # One stratum: what is drawn is a pair, as it was matched.
        resampled = setting.bootstrap(
            statistic, np.zeros(k), "bootstrap of matched pairs, percentile"
        )
        aucs[name] = dataclasses.replace(resampled, n=2 * k)
    scores = setting.as_scores["auc"]
    won = float(_won_within(scores[:, upper], scores[:, lower]).sum())
    weights = np.bincount(np.concatenate([upper, lower]), minlength=n).astype(np.float64)
    within = exact_proportion(won, k, confidence=setting.confidence)
    return MatchedPairs(
        n_pairs=k, won_within_pairs=within, **dict(setting.balanced(weights, **aucs))
    )


def _won_within(upper: FloatArray, lower: FloatArray) -> FloatArray:
    """Return the share of repeats in which the first of each pair outscores the second."""
    wins = sum((np.sign(a - b) + 1.0) / 2.0 for a, b in zip(upper, lower, strict=True))
    return np.asarray(wins, dtype=np.float64) / len(upper)


def _among_weighted(setting: _Setting) -> Weighted:
    positive, n = setting.positive, len(setting.positive)
    # The square as well: with equal means alone, one label may still be the oldest and youngest.
    centred = setting.age - setting.age.mean() if n else setting.age
    design, covariates = np.column_stack([setting.age, centred**2]), ["age", "age squared"]
    levels = set() if setting.sex is None else set(setting.sex)
    if setting.sex is not None and len(levels) > 1 and "" not in levels:
        columns = [setting.sex == level for level in sorted(levels)[1:]]
        design = np.column_stack([design, *columns])
        covariates.append("sex")
    reason = setting.too_few()
    weights = np.full(n, np.nan)
    if reason is None:
        weights = overlap_weights(positive, design, np.ones((1, n)))[0]
        if np.isnan(weights).any():
            reason = "the covariates separate the labels: no patient has a like of the other label"
    if reason is not None:
        nobody = EffectiveNumbers(positive=None, negative=None)
        nothing = dict(_without(reason, n))
        return Weighted(covariates=tuple(covariates), effective_n=nobody, **nothing)
    aucs = {}
    for name, scores in setting.as_scores.items():
        wins = pair_wins(scores[:, positive], scores[:, ~positive])

        def statistic(indices: IntArray, wins: FloatArray | RankedPairs = wins) -> FloatArray:
            counts = patient_weights(indices, n)
            drawn = counts * overlap_weights(positive, design, counts)
            return weighted_auc(wins, drawn[:, positive], drawn[:, ~positive])

        method = "stratified patient bootstrap with weights estimated anew, percentile"
        aucs[name] = setting.bootstrap(statistic, positive, method)
    effective = {
        name: float(weights[part].sum() ** 2 / np.square(weights[part]).sum())
        for name, part in (("positive", positive), ("negative", ~positive))
    }
    return Weighted(
        covariates=tuple(covariates),
        effective_n=EffectiveNumbers(**effective),
        **dict(setting.balanced(weights, **aucs)),
    )


def _sentence(everybody: AgeBalance, matched: MatchedPairs, weighted: Weighted, *, n: int) -> str:
    if everybody.auc.value is None:
        return f"Nothing can be said of patients of the same age: {everybody.auc.reason}."

    def figures(part: AgeBalance) -> str:
        auc, interval = part.auc, ""
        if auc.ci_low is not None:
            interval = f" ({auc.ci_low:.2f} to {auc.ci_high:.2f})"
        return f"{auc.value:.2f}{interval}, that of age alone {part.age_auc.value:.2f}"

    sentences = [f"Among all patients of known age the model's AUC is {figures(everybody)}."]
    if matched.auc.value is None:
        sentences.append(f"Matched by age: not defined, {matched.auc.reason}.")
    else:
        whom = "" if n <= MAX_MATCHED else f" among {MAX_MATCHED} patients drawn from {n}"
        sentences.append(
            f"In {matched.n_pairs} pairs matched by age{whom} it is {figures(matched)}."
        )
    if weighted.auc.value is None:
        sentences.append(f"Weighted: not defined, {weighted.auc.reason}.")
    else:
        names = ", ".join(weighted.covariates)
        sentences.append(f"Weighted to equal means of {names} it is {figures(weighted)}.")
    return " ".join(sentences)
