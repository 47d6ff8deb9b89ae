"""Probes: what a linear model can read from features about a covariate, within each label.

A probe is fitted and judged among patients of one label, so that whatever it reads, it does not
read by way of the label. Features are scaled inside each training fold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mri_transfer.core.arrays import FloatArray, IntArray, TextArray
from mri_transfer.metrics.balancing import pair_wins, weighted_auc
from mri_transfer.metrics.ranked_pairs import RankedPairs

__all__ = ["Probe", "probe_age", "probe_levels"]


#: Scikit-learn's C on rows of about unit length: the middle of the linear head's penalties.
_INVERSE_L2 = 30.0

#: Penalties that leave-one-out error chooses among, inside the training patients.
_RIDGE = tuple(float(value) for value in np.logspace(-2.0, 2.0, 9))

Weighted = Callable[[FloatArray], FloatArray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """Held-out predictions of the patients of one label or of several.

    Attributes
    ----------
    members : ndarray of int64, shape (n_members,)
        Positions of the probed patients.
    strata : ndarray of int64, shape (n_members,)
        What a resample of patients keeps the numbers of.
    figures : dict of str to callable
        By name: from weights of the members, shape (b, n_members), the b figures.
    """

    members: IntArray
    strata: IntArray
    figures: dict[str, Weighted]

    def value(self, name: str) -> float:
        """Return a figure with every patient counted once."""
        return float(self.figures[name](np.ones((1, len(self.members))))[0])


def probe_levels(
    features: FloatArray,
    levels: TextArray,
    groups: list[IntArray],
    *,
    n_folds: int,
    seed: int,
    rng: np.random.Generator | None = None,
) -> Probe:
    """Predict the level of a covariate by L2 logistic regression, group by group.

    Parameters
    ----------
    features : ndarray, shape (n_patients, n_features)
    levels : ndarray of text, shape (n_patients,)
    groups : list of ndarray of int64
        Positions of the patients of each label; two levels or more in each, every one of them
        with `n_folds` patients or more.
    n_folds, seed : int
        Stratified folds.
    rng : numpy.random.Generator, optional
        Permutes the features between the patients of a group first: a draw of no relation.

    Returns
    -------
    Probe
        `auc` (one level against the others, mean over levels) and `balanced_accuracy`; groups
        count by their patients.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    model = LogisticRegression(C=_INVERSE_L2, class_weight="balanced", max_iter=1000)
    parts: list[tuple[float, IntArray, IntArray, FloatArray | RankedPairs, FloatArray]] = []
    strata: list[IntArray] = []
    start = 0
    total = sum(len(group) for group in groups)
    for group in groups:
        names, codes = np.unique(levels[group].astype(str), return_inverse=True)
        chances = np.zeros((len(group), len(names)))
        for train, test, coordinates, test_coordinates in _splits(
            features[group], codes, splitter, rng
        ):
            chances[test] = model.fit(coordinates, codes[train]).predict_proba(test_coordinates)
        right = (chances.argmax(axis=1) == codes).astype(np.float64)
        for code in range(len(names)):
            inside, outside = np.flatnonzero(codes == code), np.flatnonzero(codes != code)
            wins = pair_wins(chances[None, inside, code], chances[None, outside, code])
            share = len(group) / total / len(names)
            parts.append((share, start + inside, start + outside, wins, right[inside]))
        strata.append(codes + 1000 * len(strata))
        start += len(group)

    def area(weights: FloatArray) -> FloatArray:
        values = [s * weighted_auc(w, weights[:, i], weights[:, o]) for s, i, o, w, _ in parts]
        return np.asarray(np.sum(values, axis=0), dtype=np.float64)

    def recall(weights: FloatArray) -> FloatArray:
        values = [s * (weights[:, i] @ r) / weights[:, i].sum(axis=1) for s, i, _, _, r in parts]
        return np.asarray(np.sum(values, axis=0), dtype=np.float64)

    return Probe(
        members=np.concatenate(groups),
        strata=np.concatenate(strata),
        figures={"auc": area, "balanced_accuracy": recall},
    )


def probe_age(
    features: FloatArray,
    age: FloatArray,
    groups: list[IntArray],
    *,
    n_folds: int,
    seed: int,
    rng: np.random.Generator | None = None,
) -> Probe:
    """Predict age by ridge regression, group by group.

    Parameters
    ----------
    features, groups, n_folds, seed, rng
        As in `probe_levels`.
    age : ndarray of float64, shape (n_patients,)
        Years.

    Returns
    -------
    Probe
        `r2` (share of the variance inside groups; below 0 if the group's mean predicts better),
        `correlation` (of what is left of both after the group's mean) and `mae_years`.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold

    splitter = KFold(n_splits=n_folds, shuffle=True, random_state=seed)
    members = np.concatenate(groups)
    predicted, spans, start = np.empty(len(members)), [], 0
    for group in groups:
        span = np.arange(start, start + len(group))
        for train, test, coordinates, test_coordinates in _splits(
            features[group], None, splitter, rng
        ):
            model = RidgeCV(alphas=_RIDGE).fit(coordinates, age[group][train])
            predicted[span[test]] = model.predict(test_coordinates)
        spans.append(span)
        start += len(group)
    truth = age[members]

    def moments(weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return sums of squares and products around the groups' means, shape (b,) each."""
        sums = np.zeros((3, len(weights)))
        for span in spans:
            part = weights[:, span]
            centred = [
                values[span] - (part @ values[span] / part.sum(axis=1))[:, None]
                for values in (truth, predicted)
            ]
            for row, (a, b) in enumerate(((0, 0), (1, 1), (0, 1))):
                sums[row] += (part * centred[a] * centred[b]).sum(axis=1)
        return sums[0], sums[1], sums[2]

    def r2(weights: FloatArray) -> FloatArray:
        return 1.0 - weights @ np.square(truth - predicted) / moments(weights)[0]

    def correlation(weights: FloatArray) -> FloatArray:
        first, second, product = moments(weights)
        return np.asarray(product / np.sqrt(first * second), dtype=np.float64)

    def error(weights: FloatArray) -> FloatArray:
        return np.asarray(weights @ np.abs(truth - predicted) / weights.sum(axis=1))

    return Probe(
        members=members,
        strata=np.repeat(np.arange(len(groups)), [len(group) for group in groups]),
        figures={"r2": r2, "correlation": correlation, "mae_years": error},
    )


def _splits(
    features: FloatArray, codes: IntArray | None, splitter: Any, rng: np.random.Generator | None
) -> Iterator[tuple[IntArray, IntArray, FloatArray, FloatArray]]:
    """Yield training and test positions of each fold, with their rows in a small basis.

    With an L2 penalty the solution lies in the span of the training rows, so that their
    coordinates in that span are all a linear model needs, however many features there are.
    """
    order = np.arange(len(features)) if rng is None else rng.permutation(len(features))
    for train, test in splitter.split(features, codes):
        rows, test_rows = features[order[train]], features[order[test]]
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
        varies = spread > 1e-6
        scale = np.where(varies, spread, 1.0) * np.sqrt(max(int(varies.sum()), 1))
        rows, test_rows = (rows - mean) / scale, (test_rows - mean) / scale
        if len(rows) > rows.shape[1]:
            # No more coordinates are needed than there are features.
            yield train, test, rows, test_rows
            continue
        values, vectors = np.linalg.eigh(rows @ rows.T)
        kept = values > max(values[-1], 1e-12) * 1e-10
        lengths, basis = np.sqrt(values[kept]), vectors[:, kept]
        if not kept.any():
            yield train, test, np.zeros((len(train), 1)), np.zeros((len(test), 1))
            continue
        yield train, test, basis * lengths, (test_rows @ rows.T) @ basis / lengths
