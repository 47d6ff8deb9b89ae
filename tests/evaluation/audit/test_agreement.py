"""Intraclass correlation against the published example, limits of agreement against theory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.evaluation.audit.agreement import (
    MeanSquares,
    icc_absolute,
    icc_one_way,
    limits_of_agreement,
)

#: Shrout and Fleiss 1979, table 2: six subjects, four judges.
JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_the_published_example() -> None:
    squares = MeanSquares.of(JUDGES)
    # Table 3 there: between targets, within target, between judges, residual.
    found = [squares.patients, squares.within, squares.sessions, squares.residual]
    assert found == pytest.approx([11.24, 6.26, 32.49, 1.02], abs=0.006)
    one_way, absolute = icc_one_way(squares), icc_absolute(squares)
    assert one_way.value == pytest.approx(0.17, abs=0.005)
    assert absolute.value == pytest.approx(0.29, abs=0.005)
    # Intervals as the R package psych gives them for these data.
    assert [one_way.ci_low, one_way.ci_high] == pytest.approx([-0.133, 0.723], abs=0.001)
    assert [absolute.ci_low, absolute.ci_high] == pytest.approx([0.019, 0.761], abs=0.001)
    assert one_way.n == absolute.n == 6


def test_mean_squares_add_up_to_the_variance_of_all_scores() -> None:
    values = np.random.default_rng(0).standard_normal((3, 9, 4))
    squares = MeanSquares.of(values)
    total = np.mean([np.square(one - one.mean()).sum() for one in values])
    parts = 8 * squares.patients + 3 * squares.sessions + 24 * squares.residual
    assert parts == pytest.approx(total)
    assert 8 * squares.patients + 9 * 3 * squares.within == pytest.approx(total)


def test_the_same_repeats_again_change_nothing() -> None:
    values = np.random.default_rng(1).random((7, 2))
    often, once = MeanSquares.of(np.stack([values] * 5)), MeanSquares.of(values)
    assert dataclasses.asdict(often) == pytest.approx(dataclasses.asdict(once))
    difference = values[:, 1] - values[:, 0]
    limits = limits_of_agreement(difference)
    for name, estimate in limits_of_agreement(np.stack([difference] * 5)).items():
        assert estimate.as_dict() == pytest.approx(limits[name].as_dict())


def test_a_shift_between_sessions_is_disagreement() -> None:
    rng = np.random.default_rng(2)
    truth = rng.standard_normal(40)
    alike = np.stack([truth, truth], axis=1) + 0.1 * rng.standard_normal((40, 2))
    shifted = alike + np.array([0.0, 2.0])
    assert icc_absolute(MeanSquares.of(alike)).value > 0.97
    assert icc_absolute(MeanSquares.of(shifted)).value < 0.5


def test_unrelated_sessions_correlate_by_nothing_and_the_interval_covers_the_truth() -> None:
    rng, inside = np.random.default_rng(3), 0
    for _ in range(300):
        # Variance between patients 1, within them 1: a correlation of one half.
        values = rng.standard_normal((12, 1)) + rng.standard_normal((12, 2))
        estimate = icc_one_way(MeanSquares.of(values))
        inside += estimate.ci_low <= 0.5 <= estimate.ci_high
    assert 0.92 < inside / 300 < 0.98
    values = rng.standard_normal((2000, 2))
    assert icc_one_way(MeanSquares.of(values)).value == pytest.approx(0.0, abs=0.06)
    assert icc_absolute(MeanSquares.of(values)).value == pytest.approx(0.0, abs=0.06)


def test_sessions_that_agree_wholly_have_no_interval_and_equal_scores_no_figure() -> None:
    same = np.repeat(np.arange(5.0)[:, None], 2, axis=1)
    for icc in (icc_one_way, icc_absolute):
        assert icc(MeanSquares.of(same)).value == 1.0
        assert icc(MeanSquares.of(same)).ci_low is None
        assert icc(MeanSquares.of(np.ones((5, 2)))).value is None
        assert icc(MeanSquares.of(np.ones((5, 2)))).reason == "all scores are the same"


def test_limits_are_mean_and_two_deviations() -> None:
    difference = np.array([0.1, -0.2, 0.3, 0.0, 0.05])
    found = limits_of_agreement(difference)
    mean, deviation = difference.mean(), difference.std(ddof=1)
    assert found["mean_difference"].value == pytest.approx(mean)
    assert found["upper_limit"].value == pytest.approx(mean + 1.96 * deviation, rel=1e-4)
    assert found["lower_limit"].value == pytest.approx(mean - 1.96 * deviation, rel=1e-4)
    low, high = found["lower_limit"], found["upper_limit"]
    assert [low.ci_low, low.ci_high] == pytest.approx(
        [2 * mean - high.ci_high, 2 * mean - high.ci_low]
    )


def test_with_many_patients_intervals_are_those_of_bland_and_altman() -> None:
    difference = np.random.default_rng(4).normal(0.3, 2.0, 4000)
    found, deviation = limits_of_agreement(difference), difference.std(ddof=1)
    error = deviation * np.sqrt(1 / 4000 + 1.96**2 / (2 * 3999))
    for name in ("lower_limit", "upper_limit"):
        half = (found[name].ci_high - found[name].ci_low) / 2
        assert half == pytest.approx(1.96 * error, rel=0.01)


def test_intervals_of_limits_cover_with_few_patients() -> None:
    rng, inside = np.random.default_rng(5), np.zeros(3)
    truth = {"mean_difference": 0.5, "lower_limit": 0.5 - 1.959964, "upper_limit": 0.5 + 1.959964}
    for _ in range(500):
        found = limits_of_agreement(rng.normal(0.5, 1.0, 5))
        inside += [found[name].ci_low <= value <= found[name].ci_high
                   for name, value in truth.items()]  # fmt: skip
    assert (np.abs(inside / 500 - 0.95) < 0.025).all()


def test_equal_differences_have_limits_and_no_interval() -> None:
    found = limits_of_agreement([0.25, 0.25, 0.25])
    assert {one.value for one in found.values()} == {0.25}
    assert all(one.ci_low is None and one.reason for one in found.values())
