"""The stress test tells an honest split from a leaky one."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.audit import stress_test
from mri_transfer.audit.leakage import ARMS, pair_kernel, slice_split
from mri_transfer.folds import FoldSpec
from mri_transfer.heads import LinearHeadSpec
from tests.synthetic import feature_table, folds_of


def _stress(**table_settings):
    table, labels = feature_table(n_patients=40, n_features=60, **table_settings)
    return stress_test(
        LinearHeadSpec(inverse_l2=(100.0,), zones=1),
        table,
        folds_of(table, labels),
        fold_spec=FoldSpec(n_folds=4),
        aggregation="mean_logit",
        positive_label="AD",
        n_permutations=4,
        bootstrap_samples=200,
        seed=0,
    )


def test_slices_that_betray_their_patient_inflate_the_slice_split_only() -> None:
    arms = _stress(signal=0.0, identity=2.0).arms
    accuracy = {arm: arms[arm]["slice_accuracy"]["value"] for arm in ARMS}
    assert accuracy["slice_split_true_labels"] > 0.9
    assert accuracy["slice_split_permuted_labels"] > 0.9
    assert accuracy["patient_split_true_labels"] < 0.68
    assert abs(accuracy["patient_split_permuted_labels"] - 0.5) < 0.12


def test_without_a_patient_of_their_own_slices_inflate_nothing() -> None:
    result = _stress(signal=0.0, identity=0.0)
    assert abs(result.inflation_points["value"]) < 12


def test_the_sentence_and_the_points_are_those_of_the_arms() -> None:
    result = _stress(signal=0.5, identity=1.0)
    leaky = 100 * result.arms["slice_split_true_labels"]["slice_accuracy"]["value"]
    honest = 100 * result.arms["patient_split_true_labels"]["slice_accuracy"]["value"]
    assert result.as_dict()["inflation_points"] == pytest.approx(leaky - honest)
    assert f"{leaky:.1f} %" in result.sentence
    assert f"{honest:.1f} %" in result.sentence


def test_every_figure_lies_inside_its_interval() -> None:
    for arm in _stress(signal=0.5).arms.values():
        for figure in arm.values():
            assert figure["ci_low"] <= figure["value"] <= figure["ci_high"]
            assert figure["n"] == 40


def test_a_spec_with_several_candidates_is_refused() -> None:
    table, labels = feature_table()
    with pytest.raises(ValueError, match="one candidate"):
        stress_test(
            LinearHeadSpec(penalties="inner"),
            table,
            folds_of(table, labels),
            fold_spec=FoldSpec(n_folds=4),
            aggregation="mean_logit",
            positive_label="AD",
            n_permutations=1,
            bootstrap_samples=100,
            seed=0,
        )


def test_the_leaky_split_puts_slices_of_a_patient_on_both_sides() -> None:
    held = slice_split(30, 32, n_folds=5, seed=0)
    assert sorted(np.bincount(held.ravel())) == [192] * 5
    assert (np.array([len(set(row)) for row in held]) == 5).mean() > 0.9


def test_the_pair_kernel_is_the_share_of_slice_pairs_ranked_rightly() -> None:
    rng = np.random.default_rng(0)
    positive = rng.integers(0, 4, (3, 5)).astype(float)
    negative = rng.integers(0, 4, (4, 5)).astype(float)
    for i, up in enumerate(positive):
        for j, down in enumerate(negative):
            oracle = np.mean([(a > b) + 0.5 * (a == b) for a in up for b in down])
            assert pair_kernel(positive, negative)[i, j] == pytest.approx(oracle)
