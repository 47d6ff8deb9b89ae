"""What makes patients of two labels comparable in age: pairs of patients, or weights."""

from __future__ import annotations

import numpy as np

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray, TextArray
from mri_transfer.metrics.ranked_pairs import RankedPairs, is_many, pair_sums

__all__ = ["match_pairs", "overlap_weights", "pair_wins", "weighted_auc"]


#: Steps of Newton's method; samples whose labels overlap settle in fewer than ten.
_NEWTON_STEPS = 30


def pair_wins(positive: FloatArray, negative: FloatArray) -> FloatArray | RankedPairs:
    """Return the share of repeats in which each positive patient outscores each negative one.

    Parameters
    ----------
    positive : ndarray, shape (n_repeats, n_positive)
    negative : ndarray, shape (n_repeats, n_negative)

    Returns
    -------
    ndarray or RankedPairs, shape (n_positive, n_negative)
        0 to 1, ties count one half; the mean is the AUC. No matrix where pairs are many.
    """
    if is_many(positive.shape[1], negative.shape[1]):
        return RankedPairs.of_repeats(positive, negative)
    wins = np.zeros((positive.shape[1], negative.shape[1]))
    for upper, lower in zip(positive, negative, strict=True):
        wins += (np.sign(upper[:, None] - lower[None, :]) + 1.0) / 2.0
    return wins / len(positive)


def weighted_auc(
    wins: FloatArray | RankedPairs, positive: FloatArray, negative: FloatArray
) -> FloatArray:
    """Return AUCs in which a pair of patients counts the product of their weights.

    Parameters
    ----------
    wins : ndarray or RankedPairs, shape (n_positive, n_negative)
        As `pair_wins` gives them.
    positive : ndarray, shape (b, n_positive)
    negative : ndarray, shape (b, n_negative)
        One row of weights an AUC.

    Returns
    -------
    ndarray, shape (b,)
        NaN where all weights of a label are 0.
    """
    total = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(pair_sums(wins, positive, negative) / total, dtype=np.float64)


def match_pairs(
    positive: BoolArray, age: FloatArray, *, caliper_years: float, strata: TextArray | None = None
) -> tuple[IntArray, IntArray]:
    """Pair patients of the two labels by age, one to one, each at most once.

    Of all ways to pair, the one with the most pairs and, among those, the smallest sum of age
    differences (optimal matching, Rosenbaum 1989, J Am Stat Assoc 84:1024-1032). No random
    number is involved: the same patients in the same order give the same pairs.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    age : ndarray of float64, shape (n,)
        Years; patients without one are never paired.
    caliper_years : float
        Largest difference in age inside a pair.
    strata : ndarray of text, shape (n,), optional
        Only patients of the same stratum are paired; an empty text pairs with nobody.

    Returns
    -------
    positive_patients, negative_patients : ndarray of int64, shape (n_pairs,)
        Positions; entry i of the one is paired with entry i of the other.
    """
    from scipy.optimize import linear_sum_assignment

    usable = np.isfinite(age)
    if strata is not None:
        usable &= strata != ""
    upper, lower = np.flatnonzero(positive & usable), np.flatnonzero(~positive & usable)
    distance = np.abs(age[upper][:, None] - age[lower][None, :])
    allowed = distance <= caliper_years
    if strata is not None:
        allowed &= strata[upper][:, None] == strata[lower][None, :]
    # Dearer than any set of allowed pairs together: one more allowed pair is always worth it.
    forbidden = (caliper_years + 1.0) * (min(len(upper), len(lower)) + 1)
    rows, columns = linear_sum_assignment(np.where(allowed, distance, forbidden))
    kept = allowed[rows, columns]
    return upper[rows[kept]], lower[columns[kept]]


def overlap_weights(positive: BoolArray, design: FloatArray, counts: FloatArray) -> FloatArray:
    """Weigh each patient by the chance of the other label, given the covariates.

    Overlap weights (Li, Morgan and Zaslavsky 2018, J Am Stat Assoc 113:390-400) from a logistic
    model without penalty: the weighted means of the covariates are then exactly the same for
    both labels, and patients whose like is found in one label only count next to nothing.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    design : ndarray of float64, shape (n, n_covariates)
        Without an intercept.
    counts : ndarray of float64, shape (b, n)
        How often each patient is in each of b samples; a model is fitted to every sample.

    Returns
    -------
    ndarray of float64, shape (b, n)
        ``1 - e`` for the positive label and ``e`` for the other, where e is the chance of the
        positive one; a row of NaN where the labels are separated and no model fits.
    """
    spread = design.std(axis=0)
    scaled = (design - design.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    rows = np.column_stack([np.ones(len(design)), scaled])
    weights = np.zeros((len(counts), rows.shape[1]))
    chance = np.full(counts.shape, 0.5)
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            gradient = (counts * (positive - chance)) @ rows
            curvature = np.einsum("bn,ni,nj->bij", counts * chance * (1.0 - chance), rows, rows)
            # Keeps a singular sample solvable; its gradient stays away from 0, or it is fitted.
            curvature += 1e-10 * np.eye(rows.shape[1])
            weights += np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
            weights = np.nan_to_num(np.clip(weights, -50.0, 50.0))
            chance = 1.0 / (1.0 + np.exp(-weights @ rows.T))
        gradient = (counts * (positive - chance)) @ rows
    failed = (np.abs(gradient).max(axis=1) > 1e-6) | (np.abs(weights).max(axis=1) >= 20.0)
    chance[failed] = np.nan
    return np.where(positive, 1.0 - chance, chance)
