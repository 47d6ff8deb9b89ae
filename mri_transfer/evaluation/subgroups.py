"""How good the scores are in parts of the cohort, and which parts are too small to tell.

Every subgroup's figures come with intervals and with a verdict on its size (`subgroup_size`).
Differences between subgroups are only given where both are large enough.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.evaluation.covariates import check_order
from mri_transfer.evaluation.group_results import (
    Subgroup,
    SubgroupGap,
    SubgroupGaps,
    SubgroupSize,
)
from mri_transfer.evaluation.subgroup_levels import (
    AGE_BANDS,
    Members,
    find_subgroups,
    subgroup_size,
)
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.balancing import pair_wins, weighted_auc
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.discrimination import auc, patient_weights
from mri_transfer.metrics.intervals import Estimate, bootstrap_mean, patient_bootstrap, undefined
from mri_transfer.metrics.operating_point import confusion, rates
from mri_transfer.metrics.ranked_pairs import RankedPairs

__all__ = ["subgroup_gaps", "subgroup_rows"]


def subgroup_rows(
    arrays: ScoreArrays,
    patients: pd.DataFrame,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    age_bands: Sequence[float] = AGE_BANDS,
) -> tuple[Subgroup, ...]:
    """Return the figures of every subgroup, one row each.

    The groups are sex, age band, site, scanner (or manufacturer and field strength), education
    (below, or at and above, the cohort's median) and severity by CDR. The CDR is part of the
    reference standard, so that all patients of one level tend to have one label: the patients of
    the positive label at each CDR are compared with **all** patients of the negative label, and
    specificity and calibration are not defined for them.

    Parameters
    ----------
    arrays : ScoreArrays
    patients : DataFrame
        Indexed by patient_id in the order of `arrays`, with whichever covariates are known.
    n_samples : int
        Resamples of patients.
    rng : numpy.random.Generator
    confidence : float
    age_bands : sequence of float
        Ages in years, rising, at which a new band begins.

    Returns
    -------
    tuple of Subgroup
        A group of which nothing is recorded has one row, of the level "not recorded".

    Raises
    ------
    EvaluationError
        If the patients are not those of the scores, in their order.
    """
    check_order(arrays, patients)
    subgroups = list(find_subgroups(arrays.positive, patients, age_bands=age_bands))
    return tuple(
        Subgroup.model_validate(
            {
                **dict(_size(subgroup, subgroups, arrays, confidence)),
                **_figures(subgroup, arrays, n_samples, rng, confidence),
            }
        )
        for subgroup in subgroups
    )


def subgroup_gaps(
    arrays: ScoreArrays,
    patients: pd.DataFrame,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    age_bands: Sequence[float] = AGE_BANDS,
) -> SubgroupGaps:
    """Compare the levels of each group: the best against the worst that are large enough.

    The interval is of the difference between the two levels that came out best and worst. With
    more than two levels that choice alone makes a difference, and so does looking at several
    groups; neither is in the interval. The p value holds the first: levels are permuted between
    patients of the same label, and the largest difference found anew. Holm's method (1979, Scand
    J Stat 6:65-70) over all comparisons holds the second as well. Severity is left out, since its
    levels share the patients of the negative label.

    Parameters
    ----------
    arrays, patients, confidence, age_bands
        As in `subgroup_rows`.
    n_samples : int
        Resamples, and permutations.
    rng : numpy.random.Generator

    Returns
    -------
    SubgroupGaps
        Without two levels that are large enough, a difference is undefined.

    Raises
    ------
    EvaluationError
        If the patients are not those of the scores, in their order.
    """
    check_order(arrays, patients)
    every = find_subgroups(arrays.positive, patients, age_bands=age_bands)
    compared = [subgroup for subgroup in every if not subgroup.is_severity]
    rows: list[SubgroupGap] = []
    measures: tuple[Literal["auc"], Literal["sensitivity"]] = ("auc", "sensitivity")
    for group in dict.fromkeys(subgroup.group for subgroup in compared):
        enough = [
            subgroup
            for subgroup in compared
            if subgroup.group == group and _size(subgroup, compared, arrays, confidence).enough
        ]
        for measure in measures:
            rows.append(_gap(group, measure, enough, arrays, n_samples, rng, confidence))
    return SubgroupGaps(rows=_adjusted(rows), note=_note(rows))


def _size(
    subgroup: Members, every: Sequence[Members], arrays: ScoreArrays, confidence: float
) -> SubgroupSize:
    return subgroup_size(
        subgroup,
        every,
        positive=arrays.positive,
        expected_auc=auc(arrays.positive, arrays.scores),
        confidence=confidence,
    )


def _figures(
    subgroup: Members,
    arrays: ScoreArrays,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> dict[str, Estimate]:
    y, scores = arrays.positive[subgroup.members], arrays.scores[:, subgroup.members]
    n, mean_score = len(y), scores.mean(axis=0)
    rate = rates(confusion(y, arrays.predicted[:, subgroup.members]), confidence=confidence)
    figures = {name: rate[name] for name in ("balanced_accuracy", "sensitivity", "specificity")}
    area = undefined("patients of one label only", n=n)
    if y.any() and not y.all():
        area = delong_auc(y, scores, confidence=confidence).estimate
    figures["auc"] = area
    # Of whichever label: how many of the subgroup have it is what calibration is about.
    figures["calibration"] = _mean(y - mean_score, n_samples, rng, confidence)
    figures["mean_score_positive"] = _mean(mean_score[y], n_samples, rng, confidence)
    if subgroup.is_severity:
        reason = "the patients of the negative label are those of every CDR"
        for name in ("balanced_accuracy", "specificity", "calibration"):
            figures[name] = undefined(reason, n=n)
    return figures


def _mean(
    values: FloatArray, n_samples: int, rng: np.random.Generator, confidence: float
) -> Estimate:
    method = "patient bootstrap, percentile"
    if len(values) == 0:
        return undefined("no such patient", n=0, method=method)
    mean = bootstrap_mean(values, n_samples=n_samples, rng=rng, confidence=confidence)
    return dataclasses.replace(mean, method=method)


class _Measure:
    """AUC or sensitivity of weighted patients, many weightings at once."""

    def __init__(self, measure: str, arrays: ScoreArrays) -> None:
        self.positive = arrays.positive
        self.called = arrays.predicted.mean(axis=0)
        self.wins: FloatArray | RankedPairs | None = None
        if measure == "auc":
            self.wins = pair_wins(
                arrays.scores[:, arrays.positive], arrays.scores[:, ~arrays.positive]
            )

    def __call__(self, weights: FloatArray) -> FloatArray:
        """Return one figure for each row of weights, shape (b, n)."""
        upper, lower = weights[:, self.positive], weights[:, ~self.positive]
        if self.wins is not None:
            return weighted_auc(self.wins, upper, lower)
        return np.asarray(upper @ self.called[self.positive] / upper.sum(axis=1))


def _gap(
    group: str,
    name: Literal["auc", "sensitivity"],
    levels: Sequence[Members],
    arrays: ScoreArrays,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> SubgroupGap:
    if len(levels) < 2:
        reason = f"{len(levels)} of its levels large enough; two are needed"
        return SubgroupGap(
            group=group,
            measure=name,
            n_levels=len(levels),
            highest=None,
            lowest=None,
            difference=undefined(reason, n=0),
            p=None,
            p_holm=None,
        )
    measure = _Measure(name, arrays)
    values = measure(np.stack([level.members for level in levels]).astype(np.float64))
    high, low = levels[int(np.argmax(values))], levels[int(np.argmin(values))]
    if high is low:
        high, low = levels[0], levels[1]
    both = np.flatnonzero(high.members | low.members)

    def difference(indices: IntArray) -> FloatArray:
        weights = patient_weights(both[indices], arrays.n)
        return measure(weights * high.members) - measure(weights * low.members)

    estimate = patient_bootstrap(
        difference,
        # Each level keeps its number of patients of each label.
        2 * arrays.positive[both] + high.members[both],
        n_samples=n_samples,
        rng=rng,
        confidence=confidence,
        batched=True,
    )
    p = _permutation_p(measure, levels, float(np.ptp(values)), n_samples, rng)
    return SubgroupGap(
        group=group,
        measure=name,
        n_levels=len(levels),
        highest=high.level,
        lowest=low.level,
        difference=estimate,
        p=p,
        p_holm=None,
    )


def _permutation_p(
    measure: _Measure,
    levels: Sequence[Members],
    observed: float,
    n_samples: int,
    rng: np.random.Generator,
) -> float:
    """Return how often levels permuted inside each label differ as much."""
    of_patient = np.full(len(measure.positive), -1)
    for number, level in enumerate(levels):
        of_patient[level.members] = number
    permuted = np.tile(of_patient, (n_samples, 1))
    for part in (measure.positive, ~measure.positive):
        inside = np.flatnonzero(part & (of_patient >= 0))
        permuted[:, inside] = rng.permuted(permuted[:, inside], axis=1)
    figures = np.stack(
        [measure((permuted == number).astype(np.float64)) for number in range(len(levels))]
    )
    reached = int((np.ptp(figures, axis=0) >= observed - 1e-12).sum())
    return (reached + 1) / (n_samples + 1)


def _adjusted(rows: Sequence[SubgroupGap]) -> tuple[SubgroupGap, ...]:
    from statsmodels.stats.multitest import multipletests

    made = [row.p for row in rows if row.p is not None]
    adjusted = iter(multipletests(made, method="holm")[1].tolist() if made else [])
    return tuple(
        row if row.p is None else row.model_copy(update={"p_holm": float(next(adjusted))})
        for row in rows
    )


def _note(rows: Sequence[SubgroupGap]) -> str:
    made = sum(row.p is not None for row in rows)
    if not made:
        return "No group has two levels that are large enough: no comparison was made."
    return (
        f"{made} comparisons were made between the best and the worst level of a group. About one "
        "in twenty would have a p value below .05 if nothing differed; p_holm holds for all of "
        "them together, the intervals hold for each alone and make no allowance for choosing the "
        "extremes. An absent difference is not shown either: subgroups are small."
    )
