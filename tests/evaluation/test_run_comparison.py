"""Runs side by side: common patients, paired figures, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation import ComparedRun, ScoreArrays, compare_runs
from mri_transfer.evaluation.notices import study_notices
from mri_transfer.metrics.calibration import brier
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.paired import bootstrap_difference
from mri_transfer.metrics.task import Task

N, REPEATS = 60, 2


def _run(name: str, *, seed: int, signal: float, n: int = N, folds_seed: int = 0) -> ComparedRun:
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 2 == 1
    scores = 1 / (1 + np.exp(-(signal * (2 * positive - 1) + rng.normal(size=(REPEATS, n)))))
    folds = np.random.default_rng(folds_seed).permuted(
        np.tile(np.arange(n) % 3, (REPEATS, 1)), axis=1
    )
    arrays = ScoreArrays(
        task=Task(positive="AD", negative="CN"),
        patient_ids=tuple(f"p{i:03d}" for i in range(n)),
        repeats=tuple(range(REPEATS)),
        positive=positive,
        scores=scores,
        predicted=scores >= 0.5,
        fold=folds.astype(np.int64),
    )
    return ComparedRun(name=name, arrays=arrays)


def _compare(*runs: ComparedRun) -> dict:
    return compare_runs(runs, n_samples=200, seed=0).plain()


def test_each_figure_is_the_one_that_its_own_function_gives_on_the_common_patients() -> None:
    first, second = _run("a", seed=1, signal=1.0), _run("b", seed=2, signal=0.2)
    found = _compare(first, second)
    y, one, two = first.arrays.positive, first.arrays.scores, second.arrays.scores
    pair = found["pairs"][0]
    assert found["n_common"] == N
    assert found["n_positive"] == N // 2
    assert pair["auc_difference"] == delong_difference(y, one, two).as_dict()
    assert pair["p_holm"] == pair["auc_difference"]["p"]
    assert found["runs"][1]["common"]["auc"] == delong_auc(y, two).estimate.as_dict()
    difference = brier(y, one).value - brier(y, two).value  # type: ignore[operator]
    assert pair["brier_difference"]["value"] == pytest.approx(difference)
    assert pair["brier_difference"]["ci_low"] < difference < pair["brier_difference"]["ci_high"]


def test_the_order_of_the_runs_turns_the_signs_and_nothing_else() -> None:
    first, second = _run("a", seed=1, signal=1.0), _run("b", seed=2, signal=0.2)
    there, back = _compare(first, second)["pairs"][0], _compare(second, first)["pairs"][0]
    assert there["auc_difference"]["value"] == pytest.approx(-back["auc_difference"]["value"])
    assert there["auc_difference"]["p"] == pytest.approx(back["auc_difference"]["p"])
    assert there["mcnemar"]["accuracy"]["first_only"] == back["mcnemar"]["accuracy"]["second_only"]


def test_only_patients_that_every_run_scored_are_compared() -> None:
    whole, part = _run("a", seed=1, signal=1.0), _run("b", seed=2, signal=0.2, n=40)
    found = _compare(whole, part)
    y = part.arrays.positive
    assert found["n_common"] == 40
    assert found["runs"][0]["n_patients"] == N
    assert found["runs"][0]["auc_all_patients"]["n"] == N
    restricted = whole.arrays.scores[:, :40]
    assert found["runs"][0]["common"]["auc"]["value"] == delong_auc(y, restricted).estimate.value
    pair = found["pairs"][0]["auc_difference_bootstrap"]
    expected = bootstrap_difference(
        y, restricted, part.arrays.scores, n_samples=5000, rng=np.random.default_rng(9)
    )
    assert pair["value"] == expected.value
    assert pair["ci_low"] == pytest.approx(expected.ci_low, abs=0.03)


def test_a_run_against_its_own_copy_differs_by_nothing() -> None:
    run = _run("a", seed=1, signal=1.0)
    pair = _compare(run, dataclasses.replace(run, name="copy"))["pairs"][0]
    assert pair["auc_difference"]["value"] == 0
    assert pair["brier_difference"]["value"] == 0
    assert pair["mcnemar"]["accuracy"]["p_mid"] == 1


def test_folds_are_compared_only_where_the_split_is_the_same_whatever_the_numbers() -> None:
    first, second = _run("a", seed=1, signal=1.0), _run("b", seed=2, signal=0.2)
    renumbered = dataclasses.replace(second.arrays, fold=(second.arrays.fold + 1) % 3)
    same = _compare(first, dataclasses.replace(second, arrays=renumbered))["pairs"][0]
    other = _compare(first, _run("b", seed=2, signal=0.2, folds_seed=5))["pairs"][0]
    assert same["same_folds"]
    assert same["auc_difference_folds"]["n"] == 3 * REPEATS
    assert not other["same_folds"]
    assert other["auc_difference_folds"]["value"] is None
    assert "different folds" in other["auc_difference_folds"]["reason"]


def test_three_runs_make_three_pairs_with_p_values_adjusted_by_holm() -> None:
    runs = [_run(name, seed=i, signal=0.3 * i) for i, name in enumerate("abc")]
    pairs = _compare(*runs)["pairs"]
    assert [(pair["first"], pair["second"]) for pair in pairs] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    raw = [pair["auc_difference"]["p"] for pair in pairs]
    # Holm by its definition: the i-th smallest of m times m - i, never falling, at most 1.
    expected, highest = {}, 0.0
    for i, p in enumerate(sorted(raw)):
        highest = max(highest, min(1.0, p * (len(raw) - i)))
        expected[p] = highest
    assert [pair["p_holm"] for pair in pairs] == pytest.approx([expected[p] for p in raw])


def test_runs_that_cannot_be_compared_are_refused() -> None:
    first, second = _run("a", seed=1, signal=1.0), _run("b", seed=2, signal=0.2)
    with pytest.raises(EvaluationError, match="its own name"):
        _compare(first, dataclasses.replace(second, name="a"))
    arrays = dataclasses.replace(second.arrays, task=Task(positive="MCI", negative="CN"))
    with pytest.raises(EvaluationError, match="different labels apart"):
        _compare(first, dataclasses.replace(second, arrays=arrays))


def test_a_patient_with_another_label_is_named() -> None:
    second = _run("b", seed=2, signal=0.2)
    turned = second.arrays.positive.copy()
    turned[7] = not turned[7]
    second = dataclasses.replace(second, arrays=dataclasses.replace(second.arrays, positive=turned))
    with pytest.raises(EvaluationError, match="p007"):
        _compare(_run("a", seed=1, signal=1.0), second)


def test_runs_without_common_patients_are_refused() -> None:
    second = _run("b", seed=2, signal=0.2)
    strangers = tuple(f"q{i}" for i in range(N))
    second = dataclasses.replace(
        second, arrays=dataclasses.replace(second.arrays, patient_ids=strangers)
    )
    with pytest.raises(EvaluationError, match="in common"):
        _compare(_run("a", seed=1, signal=1.0), second)


def test_a_run_repeated_less_often_has_no_mcnemar() -> None:
    second = _run("b", seed=2, signal=0.2)
    once = dataclasses.replace(
        second.arrays,
        repeats=(0,),
        scores=second.arrays.scores[:1],
        predicted=second.arrays.predicted[:1],
        fold=second.arrays.fold[:1],
    )
    pair = _compare(_run("a", seed=1, signal=1.0), dataclasses.replace(second, arrays=once))
    assert pair["pairs"][0]["mcnemar"] is None


def test_warnings_are_joined_and_name_the_runs_they_hold_for() -> None:
    made_up = study_notices(synthetic=True, trunk_weights="imagenet")
    control = study_notices(synthetic=True, trunk_weights="random")
    first = dataclasses.replace(_run("a", seed=1, signal=1.0), notices=made_up)
    second = dataclasses.replace(_run("b", seed=2, signal=1.0), notices=control)
    warnings = _compare(first, second)["warnings"]
    assert [one["code"] for one in warnings] == ["synthetic_cohort", "random_trunk"]
    assert not warnings[0]["text"].startswith("Of ")
    assert warnings[1]["text"].startswith("Of b: ")
    assert _compare(_run("a", seed=1, signal=1.0), second)["warnings"][0]["text"].startswith("Of b")
