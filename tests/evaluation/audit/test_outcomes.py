"""Figures of held-out patients, against their definitions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mri_transfer.evaluation.audit.outcomes import METRICS, Outcome, outcome_metric, pair_kernel


def _outcome(seed: int = 0) -> Outcome:
    rng = np.random.default_rng(seed)
    labels = np.array([0, 1, 1, 0, 1, 0, 0])
    logits = rng.integers(-2, 3, (7, 5)).astype(np.float32) / np.float32(3)
    return Outcome(
        labels=labels,
        slice_accuracy=((logits > 0) == (labels[:, None] == 1)).mean(axis=1),
        slice_logits=logits,
        scores=rng.random(7).round(1),
    )


def _ranked(up: np.ndarray, down: np.ndarray) -> float:
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in up for b in down]))


def _oracle(outcome: Outcome, metric: str, patients: list[int]) -> float:
    """The metric of a list of patients, in which one may stand twice."""
    labels = outcome.labels[patients]
    if metric == "slice_accuracy":
        return float(np.mean([outcome.slice_accuracy[i] for i in patients]))
    if metric == "patient_balanced_accuracy":
        right = (outcome.scores[patients] > 0.5) == (labels == 1)
        return float((right[labels == 1].mean() + right[labels == 0].mean()) / 2)
    values = outcome.slice_logits if metric == "slice_auc" else outcome.scores[:, None]
    chosen = values[patients]
    return _ranked(chosen[labels == 1].ravel(), chosen[labels == 0].ravel())


@pytest.mark.parametrize("metric", METRICS)
def test_a_figure_of_counts_is_the_figure_of_the_patients_counted(metric) -> None:
    outcome = _outcome()
    lists = [[0, 1, 2, 3, 4, 5, 6], [0, 0, 2, 4, 4, 5, 1], [1, 3]]
    counts = np.stack([np.bincount(one, minlength=7) for one in lists]).astype(float)
    expected = [_oracle(outcome, metric, one) for one in lists]
    assert outcome_metric(outcome, metric, counts) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "slice_accuracy"])
def test_a_figure_that_needs_both_labels_is_undefined_with_one(metric) -> None:
    counts = np.array([[1.0, 0, 0, 1, 0, 1, 1]])
    assert np.isnan(outcome_metric(_outcome(), metric, counts)).all()


def test_an_outcome_goes_through_json_without_losing_a_bit() -> None:
    rng = np.random.default_rng(1)
    outcome = Outcome(
        labels=np.array([0, 1]),
        slice_accuracy=rng.random(2),
        slice_logits=(rng.standard_normal((2, 50)) * 10.0 ** rng.integers(-9, 9, (2, 50))).astype(
            np.float32
        ),
        scores=rng.random(2),
    )
    again = Outcome.from_dict(json.loads(json.dumps(outcome.as_dict())))
    for name in ("labels", "slice_accuracy", "slice_logits", "scores"):
        one, other = getattr(outcome, name), getattr(again, name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def test_the_pair_kernel_is_the_share_of_slice_pairs_ranked_rightly() -> None:
    rng = np.random.default_rng(0)
    positive = rng.integers(0, 4, (3, 5)).astype(float)
    negative = rng.integers(0, 4, (4, 5)).astype(float)
    kernel = pair_kernel(positive, negative)
    for i, up in enumerate(positive):
        for j, down in enumerate(negative):
            assert kernel[i, j] == pytest.approx(_ranked(up, down))
