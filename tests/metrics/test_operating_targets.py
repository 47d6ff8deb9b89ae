"""Thresholds for a stated sensitivity or specificity, and what they reach."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.errors import EvaluationError, PredictionError
from mri_transfer.metrics.operating_point import confusion, rates
from mri_transfer.metrics.operating_targets import operating_points, threshold_for
from mri_transfer.metrics.predictive_values import likelihood_ratios


def reached(labels, scores, threshold):
    called = scores >= threshold
    return {
        "sensitivity": called[labels == 1].mean(),
        "specificity": (~called[labels == 0]).mean(),
    }


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("at", [0.05, 0.5, 0.8, 0.9, 1.0])
def test_threshold_is_the_extreme_one_that_reaches_the_aim(seed, at):
    rng = np.random.default_rng(seed)
    labels = np.arange(41) % 2
    scores = np.round(rng.random(41), 1 + seed % 2)  # many ties
    for target, next_to in (("sensitivity", np.inf), ("specificity", -np.inf)):
        found = threshold_for(labels, scores, target=target, at=at)
        assert reached(labels, scores, found)[target] >= at - 1e-12
        beyond = np.nextafter(found, next_to)
        assert reached(labels, scores, beyond)[target] < at - 1e-12


def test_threshold_by_hand():
    labels = np.array([1] * 10 + [0] * 10)
    scores = np.concatenate([np.arange(11, 21), np.arange(1, 11)]) / 20
    assert threshold_for(labels, scores, target="sensitivity", at=0.9) == 12 / 20
    found = threshold_for(labels, scores, target="specificity", at=0.9)
    assert 9 / 20 < found < 9 / 20 + 1e-12


def test_rounding_does_not_ask_for_one_patient_more():
    # .07 * 100 is a little above 7 in floats.
    labels = np.array([1] * 100 + [0] * 100)
    scores = np.arange(200) / 200
    found = threshold_for(labels, scores, target="sensitivity", at=0.07)
    assert reached(labels, scores, found)["sensitivity"] == 0.07


@pytest.mark.parametrize(
    ("target", "at"), [("sensitivity", 0.0), ("accuracy", 0.9), ("specificity", 1.1)]
)
def test_an_aim_that_is_none_is_refused(target, at):
    with pytest.raises(EvaluationError, match="aim"):
        threshold_for([0, 1], [0.1, 0.9], target=target, at=at)


def cohort(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 2
    scores = rng.random((2, 60)) * 0.6 + 0.4 * labels * rng.random(60)
    folds = np.stack([rng.permutation(np.arange(60) % 3) for _ in range(2)])
    return labels, scores, folds


def test_points_by_a_slow_loop_over_patients():
    labels, scores, folds = cohort()
    repeats = (4, 7)
    chosen = {(r, f): 0.3 + 0.05 * f + 0.1 * (r == 7) for r in repeats for f in range(3)}
    (point,) = operating_points(
        labels, scores, folds, thresholds={"sensitivity 0.9": chosen}, repeats=repeats
    )
    called = np.zeros((2, 60), dtype=bool)
    for i, repeat in enumerate(repeats):
        for j in range(60):
            called[i, j] = scores[i, j] >= chosen[repeat, folds[i, j]]
    counts = confusion(labels, called)
    wanted = {**rates(counts), **likelihood_ratios(counts)}
    assert point.target == "sensitivity 0.9"
    assert point.confusion == counts.matrix()
    assert dict(point.threshold) == pytest.approx({"mean": 0.4, "min": 0.3, "max": 0.5})
    assert set(dict(point)) == {"target", "threshold", "confusion", *wanted}
    for name, estimate in wanted.items():
        assert getattr(point, name) == estimate


def test_training_thresholds_reach_their_aim_on_patients_like_them():
    rng = np.random.default_rng(1)
    labels = np.arange(4000) % 2
    scores = np.clip(0.35 + 0.3 * labels + 0.2 * rng.standard_normal(4000), 0, 1)
    folds = np.arange(4000) % 4
    thresholds = {
        f"{target} {at}": {
            (0, fold): threshold_for(
                labels[folds != fold], scores[folds != fold], target=target, at=at
            )
            for fold in range(4)
        }
        for target, at in (("sensitivity", 0.9), ("specificity", 0.8))
    }
    points = operating_points(labels, scores, folds, thresholds=thresholds, repeats=[0])
    assert [point.target for point in points] == ["sensitivity 0.9", "specificity 0.8"]
    assert points[0].sensitivity.value == pytest.approx(0.9, abs=0.02)
    assert points[1].specificity.value == pytest.approx(0.8, abs=0.02)


def test_a_fold_without_a_threshold_is_refused():
    labels, scores, folds = cohort()
    thresholds = {"sensitivity 0.9": {(0, 0): 0.5, (0, 1): 0.5}}
    with pytest.raises(PredictionError, match=r"no threshold.*repeat 0, fold 2"):
        operating_points(labels, scores, folds, thresholds=thresholds, repeats=[0, 1])
    with pytest.raises(PredictionError, match="do not fit"):
        operating_points(labels, scores, folds[:1], thresholds=thresholds, repeats=[0, 1])
    with pytest.raises(PredictionError, match="do not fit"):
        operating_points(labels, scores, folds, thresholds=thresholds, repeats=[0])
