"""AUC, ROC and threshold against definitions written out slowly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics import discrimination
from mri_transfer.metrics.discrimination import (
    auc,
    bootstrap_auc,
    delong_placements,
    mean_roc_curve,
    pair_kernel,
    patient_weights,
    resampled_auc,
    roc_curve,
    thinned_curve,
    youden_threshold,
)


def slow_auc(labels, scores):
    """Count every pair of a positive and a negative patient: the definition."""
    won = 0.0
    pairs = 0
    for i, first in enumerate(labels):
        for j, second in enumerate(labels):
            if first == 1 and second == 0:
                pairs += 1
                won += 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
    return won / pairs


def draw(seed, n=37, levels=None, repeats=1):
    rng = np.random.default_rng(seed)
    labels = np.zeros(n, dtype=int)
    labels[rng.permutation(n)[: n // 3]] = 1
    scores = rng.random((repeats, n)) + 0.3 * labels
    if levels is not None:
        scores = np.floor(scores * levels) / levels
    return labels, scores


@pytest.mark.parametrize("levels", [None, 10, 3, 1])
@pytest.mark.parametrize("seed", range(5))
def test_auc_counts_pairs_with_ties_as_one_half(seed, levels):
    labels, scores = draw(seed, levels=levels)
    assert auc(labels, scores[0]) == pytest.approx(slow_auc(labels, scores[0]), abs=1e-14)


def test_auc_by_hand():
    # Pairs (positive, negative): .8>.1, .8>.4, .4>.1, .4=.4 -> (1 + 1 + 1 + 0.5) / 4
    assert auc([1, 0, 1, 0], [0.8, 0.1, 0.4, 0.4]) == 0.875


def test_auc_of_repeats_is_the_mean_of_theirs():
    labels, scores = draw(1, repeats=3)
    assert auc(labels, scores) == pytest.approx(np.mean([slow_auc(labels, s) for s in scores]))


def test_auc_ignores_monotone_transforms_and_turns_with_the_labels():
    labels, scores = draw(2, levels=8)
    assert auc(labels, np.exp(5 * scores[0])) == auc(labels, scores[0])
    assert auc(1 - labels, scores[0]) == pytest.approx(1 - auc(labels, scores[0]), abs=1e-14)
    assert auc(labels, -scores[0]) == pytest.approx(1 - auc(labels, scores[0]), abs=1e-14)


def test_both_kinds_of_placements_have_the_auc_as_mean():
    labels, scores = draw(3, levels=6, repeats=2)
    positive, negative = delong_placements(labels, scores)
    assert positive.shape == (labels.sum(),)
    assert negative.shape == ((1 - labels).sum(),)
    assert positive.mean() == pytest.approx(auc(labels, scores))
    assert negative.mean() == pytest.approx(auc(labels, scores))


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1, 1], [0.1, 0.2, 0.3], "both labels"),
        ([0, 1, 2], [0.1, 0.2, 0.3], "0 and 1"),
        ([0, 1, 1], [0.1, np.nan, 0.3], "finite"),
        ([0, 1, 1], [0.1, 0.3], "do not fit"),
        ([0, 1, 1], np.zeros((0, 3)), "do not fit"),
    ],
)
def test_auc_refuses_what_has_none(labels, scores, message):
    with pytest.raises(EvaluationError, match=message):
        auc(labels, scores)


@pytest.mark.parametrize("levels", [None, 4])
def test_bootstrap_uses_the_same_auc_as_plain_resampling(levels):
    labels, scores = draw(4, levels=levels, repeats=2)
    fast = bootstrap_auc(labels, scores, n_samples=200, rng=np.random.default_rng(5))
    from mri_transfer.metrics.intervals import patient_bootstrap

    slow = patient_bootstrap(
        lambda rows: np.mean([slow_auc(labels[rows], one[rows]) for one in scores]),
        labels,
        n_samples=200,
        rng=np.random.default_rng(5),
    )
    assert fast.value == pytest.approx(slow.value)
    assert fast.ci_low == pytest.approx(slow.ci_low)
    assert fast.ci_high == pytest.approx(slow.ci_high)


def test_pairs_are_compared_once_however_many_samples_are_drawn(monkeypatch):
    labels, scores = draw(8, n=140, repeats=3)
    calls = {"pair_kernel": 0, "resampled_auc": 0}

    def counted(name, real):
        def call(*arguments):
            calls[name] += 1
            return real(*arguments)

        return call

    for name in calls:
        monkeypatch.setattr(discrimination, name, counted(name, getattr(discrimination, name)))
    bootstrap_auc(labels, scores, n_samples=2000, rng=np.random.default_rng(0))
    assert calls["pair_kernel"] == 1
    assert calls["resampled_auc"] < 50


def test_patient_weights_count_draws():
    weights = patient_weights(np.array([[0, 0, 2], [1, 1, 1]]), 3)
    np.testing.assert_array_equal(weights, [[2, 0, 1], [0, 3, 0]])


@pytest.mark.parametrize("levels", [None, 4])
def test_a_resampled_kernel_of_pairs_is_the_auc_of_the_patients_drawn(levels):
    labels, scores = draw(10, levels=levels, repeats=2)
    positive = labels == 1
    kernel = pair_kernel(scores[:, positive], scores[:, ~positive])
    assert kernel.mean() == pytest.approx(auc(labels, scores))
    rows = np.concatenate([np.flatnonzero(positive)[[0, 0, 3]], np.flatnonzero(~positive)[[1, 5]]])
    weights = patient_weights(rows[None, :], len(labels))
    upper, lower = weights[:, positive], weights[:, ~positive]
    # Counts are scaled, as the mean is taken over as many pairs as the kernel has.
    scale = (len(upper[0]) / 3) * (len(lower[0]) / 2)
    expected = np.mean([slow_auc(labels[rows], one[rows]) for one in scores])
    assert resampled_auc(kernel, upper, lower)[0] * scale == pytest.approx(expected)


def test_roc_curve_by_hand_and_its_area():
    fpr, tpr = roc_curve([1, 0, 1, 0], [0.8, 0.1, 0.4, 0.4])
    np.testing.assert_array_equal(fpr, [0, 0, 0.5, 1])
    np.testing.assert_array_equal(tpr, [0, 0.5, 1, 1])
    labels, scores = draw(9, levels=5)
    assert np.trapezoid(*roc_curve(labels, scores[0])[::-1]) == pytest.approx(
        slow_auc(labels, scores[0])
    )


@pytest.mark.parametrize("levels", [None, 3])
@pytest.mark.parametrize("repeats", [1, 3, 4])
def test_the_mean_curve_has_the_mean_area_and_rises(levels, repeats):
    labels, scores = draw(11, levels=levels, repeats=repeats)
    fpr, tpr = mean_roc_curve(labels, scores)
    expected = np.mean([slow_auc(labels, row) for row in scores])
    assert np.trapezoid(tpr, fpr) == pytest.approx(expected)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


def test_the_mean_curve_of_one_repeat_is_its_curve():
    labels, scores = draw(9, levels=5)
    area = [np.trapezoid(*curve(labels, scores[0])[::-1]) for curve in (roc_curve, mean_roc_curve)]
    assert area[0] == pytest.approx(area[1])


def slow_youden(labels, scores):
    """Try every midpoint; best J, then the least imbalance, then the lowest."""
    distinct = sorted(set(scores))
    best = None
    for low, high in itertools.pairwise(distinct):
        called = [score >= high for score in scores]
        tp = sum(c and y for c, y in zip(called, labels, strict=True))
        tn = sum(not c and not y for c, y in zip(called, labels, strict=True))
        a, b = tp * (len(labels) - sum(labels)), tn * sum(labels)
        key = (-(a + b), abs(a - b), low + (high - low) / 2)
        best = key if best is None else min(best, key)
    return best[2]


@pytest.mark.parametrize("levels", [None, 10, 3])
@pytest.mark.parametrize("seed", range(5))
def test_youden_threshold_is_the_best_of_all_midpoints(seed, levels):
    labels, scores = draw(seed, levels=levels)
    assert youden_threshold(labels, scores[0]) == slow_youden(labels.tolist(), scores[0].tolist())


def test_youden_threshold_by_hand():
    assert youden_threshold([0, 0, 1, 1], [0.1, 0.3, 0.5, 0.9]) == pytest.approx(0.4)
    # 0.2 and 0.8 reach the same index and the same imbalance: the lower is taken.
    assert youden_threshold([0, 1, 0, 1], [0.1, 0.3, 0.7, 0.9]) == pytest.approx(0.2)
    # Thresholds .25, .45 and .65 all reach an index of one half; .45 alone is balanced.
    ranked = np.arange(1, 9) / 10
    assert youden_threshold([0, 0, 1, 0, 1, 0, 1, 1], ranked) == pytest.approx(0.45)
    assert youden_threshold([0, 1, 0], [0.5, 0.5, 0.5]) == 0.5


def test_youden_threshold_does_not_depend_on_the_order_of_patients():
    labels, scores = draw(11, levels=6)
    order = np.random.default_rng(0).permutation(len(labels))
    assert youden_threshold(labels, scores[0]) == youden_threshold(labels[order], scores[0][order])


def test_a_curve_of_many_points_is_thinned_and_keeps_its_shape():
    at = np.linspace(0, 1, 20_001)
    fpr, tpr = thinned_curve(at, np.sqrt(at))
    assert len(fpr) <= 4001
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(2 / 3, abs=1e-5)
    few = thinned_curve(at[::10], at[::10])
    assert len(few[0]) == 2001
