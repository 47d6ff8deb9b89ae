"""Sums over pairs by sorting are those of the matrix of pairs."""

import numpy as np
import pytest

from mri_transfer.metrics import ranked_pairs
from mri_transfer.metrics.balancing import pair_wins, weighted_auc
from mri_transfer.metrics.discrimination import bootstrap_auc, pair_kernel
from mri_transfer.metrics.paired import bootstrap_difference
from mri_transfer.metrics.ranked_pairs import RankedPairs


@pytest.fixture
def scores():
    """Two repeats of few distinct scores, so that many tie; and weights of six resamples."""
    rng = np.random.default_rng(1)
    upper = rng.integers(0, 9, (2, 30)).astype(float)
    lower = rng.integers(0, 8, (2, 45)).astype(float)
    return upper, lower, rng.poisson(1.0, (6, 30)).astype(float), rng.random((6, 45))


def test_repeats(scores):
    upper, lower, up, down = scores
    matrix = pair_kernel(upper, lower)
    pairs = RankedPairs.of_repeats(upper, lower)
    assert pairs.size == matrix.size
    np.testing.assert_allclose(pairs.sums(up, down), ((up @ matrix) * down).sum(axis=1), rtol=1e-12)


def test_difference(scores):
    upper, lower, up, down = scores
    difference = pair_kernel(upper[:1], lower[:1]) - pair_kernel(upper[1:], lower[1:])
    pairs = RankedPairs.of_repeats(upper[:1], lower[:1]) - RankedPairs.of_repeats(
        upper[1:], lower[1:]
    )
    np.testing.assert_allclose(
        pairs.sums(up, down), ((up @ difference) * down).sum(axis=1), atol=1e-10
    )


def test_slices_of_patients():
    rng = np.random.default_rng(2)
    upper, lower = rng.integers(0, 20, 40), rng.integers(0, 20, 60)
    owner, other = rng.integers(0, 7, 40), rng.integers(0, 9, 60)
    matrix = np.zeros((7, 9))
    for a, i in zip(upper, owner, strict=True):
        for b, j in zip(lower, other, strict=True):
            matrix[i, j] += float(a > b) + 0.5 * float(a == b)
    up, down = rng.random((3, 7)), rng.random((3, 9))
    pairs = RankedPairs.of_slices(upper, lower, owner, other, (7, 9))
    np.testing.assert_allclose(pairs.sums(up, down), ((up @ matrix) * down).sum(axis=1), rtol=1e-12)


def test_a_large_cohort_has_the_figures_of_a_small_one(scores, monkeypatch):
    upper, lower, up, down = scores
    positive = np.arange(75) < 30
    both = np.concatenate([upper, lower], axis=1)
    other = both[::-1]

    def figures():
        settings = {"n_samples": 50, "confidence": 0.9}
        return [
            bootstrap_auc(positive, both, rng=np.random.default_rng(3), **settings),
            bootstrap_difference(
                positive, both[:1], other[:1], rng=np.random.default_rng(3), **settings
            ),
        ]

    wins, small = pair_wins(upper, lower), figures()
    monkeypatch.setattr(ranked_pairs, "MAX_PAIRS", 0)
    ranked = pair_wins(upper, lower)
    assert isinstance(ranked, RankedPairs)
    np.testing.assert_allclose(weighted_auc(ranked, up, down), weighted_auc(wins, up, down))
    for one, large in zip(small, figures(), strict=True):
        assert large.value == pytest.approx(one.value)
        assert large.interval == pytest.approx(one.interval)
