"""The Brier score in parts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.brier_score import brier_decomposition
from mri_transfer.metrics.calibration import brier


def cohort(n=140, *, slope=0.5, repeats=1, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.standard_normal(n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-slope * logits))).astype(int)
    return labels, 1 / (1 + np.exp(-(logits + noise * rng.standard_normal((repeats, n)))))


def parts(labels, scores, n_samples=100, seed=0):
    return brier_decomposition(labels, scores, n_samples=n_samples, rng=np.random.default_rng(seed))


def test_parts_by_hand():
    # Recalibrated: .1 -> 0, .4 and .5 (labels 1 0) -> 1/2 each, .8 -> 1.
    found = parts([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.8])
    whole, best = (0.01 + 0.36 + 0.25 + 0.04) / 4, (0 + 0.25 + 0.25 + 0) / 4
    assert found["miscalibration"].value == pytest.approx(whole - best)
    assert found["discrimination"].value == pytest.approx(0.25 - best)
    assert found["uncertainty"].value == pytest.approx(0.25)
    assert found["scaled_brier"].value == pytest.approx(1 - whole / 0.25)


def test_parts_by_scikit_learn_with_ties_and_repeats():
    labels, scores = cohort(repeats=3)
    scores = np.round(scores, 1)
    found = parts(labels, scores)
    loss = [
        np.mean((IsotonicRegression().fit(row, labels).predict(row) - labels) ** 2)
        for row in scores
    ]
    share = labels.mean()
    whole = np.mean((scores - labels) ** 2)
    assert found["miscalibration"].value == pytest.approx(whole - np.mean(loss))
    assert found["discrimination"].value == pytest.approx(share * (1 - share) - np.mean(loss))


def test_parts_add_up_to_the_brier_score():
    labels, scores = cohort(repeats=2, seed=3)
    found = {name: estimate.value for name, estimate in parts(labels, scores).items()}
    whole = brier(labels, scores).value
    sum_ = found["miscalibration"] - found["discrimination"] + found["uncertainty"]
    assert sum_ == pytest.approx(whole)


def test_the_scaled_score_has_the_interval_of_the_brier_score():
    labels, scores = cohort(repeats=2, seed=4)
    whole, found = brier(labels, scores), parts(labels, scores)["scaled_brier"]
    level = labels.mean() * (1 - labels.mean())
    assert found.ci_low == pytest.approx(1 - whole.ci_high / level)
    assert found.ci_high == pytest.approx(1 - whole.ci_low / level)
    assert found.method == whole.method


def test_discrimination_depends_on_order_only():
    labels, scores = cohort()
    found, bent = parts(labels, scores), parts(labels, scores**3)
    assert bent["discrimination"].value == pytest.approx(found["discrimination"].value)
    assert bent["miscalibration"].value > found["miscalibration"].value


def test_scores_without_information_and_perfect_ones():
    labels = np.arange(20) % 2
    level = parts(labels, np.full(20, 0.5))
    assert level["miscalibration"].value == pytest.approx(0)
    assert level["discrimination"].value == pytest.approx(0)
    assert level["scaled_brier"].value == pytest.approx(0)
    assert level["miscalibration"].ci_low is None
    perfect = parts(labels, labels.astype(float))
    assert perfect["miscalibration"].value == pytest.approx(0)
    assert perfect["discrimination"].value == pytest.approx(0.25)
    assert perfect["scaled_brier"].value == 1
    backward = parts(labels, 1.0 - labels)
    assert backward["scaled_brier"].value == pytest.approx(-3)
    assert backward["miscalibration"].value == pytest.approx(0.75)


def test_uncertainty_has_no_interval_as_resamples_keep_the_labels():
    found = parts(*cohort())["uncertainty"]
    assert found.ci_low is None
    assert "same value" in found.reason


def test_intervals_allow_for_chance():
    labels, calibrated = cohort(slope=1.0, noise=0.0, seed=1)
    found = parts(labels, calibrated, n_samples=300)
    assert found["miscalibration"].value > 0
    assert found["miscalibration"].ci_low == 0
    chance = found["miscalibration_if_calibrated"]
    assert 0 < chance.ci_low < chance.value < chance.ci_high
    assert chance.ci_low < found["miscalibration"].value < chance.ci_high
    labels, extreme = cohort(slope=0.2, seed=2)
    assert parts(labels, extreme, n_samples=300)["miscalibration"].ci_low > 0
    useless = parts(np.random.default_rng(0).permutation(labels), extreme, n_samples=300)
    assert useless["discrimination"].ci_low == 0
    assert parts(*cohort(slope=1.5), n_samples=300)["discrimination"].ci_low > 0


def test_intervals_cover_what_140_patients_are_a_sample_of():
    rng = np.random.default_rng(4)
    logits = 1.4 * rng.standard_normal(200_000)
    chance = 1 / (1 + np.exp(-0.6 * logits))
    scores = 1 / (1 + np.exp(-logits))
    truth = {"miscalibration": np.mean((scores - chance) ** 2), "discrimination": chance.var()}
    labels = rng.random(200_000) < chance
    hits = dict.fromkeys(truth, 0)
    for _ in range(40):
        drawn = np.concatenate(
            [rng.choice(np.flatnonzero(labels == value), 70) for value in (False, True)]
        )
        found = brier_decomposition(
            labels[drawn].astype(int), scores[drawn], n_samples=100, rng=rng
        )
        for name, value in truth.items():
            hits[name] += found[name].ci_low <= value <= found[name].ci_high
    assert min(hits.values()) >= 35


def test_what_is_no_probability_is_refused():
    with pytest.raises(EvaluationError, match="probabilities"):
        parts([0, 1], [0.2, 1.2])
