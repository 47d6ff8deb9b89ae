"""How the arms of the stress test deal slices and scans."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.evaluation.audit.arms import all_arms, session_split, slice_split


def test_the_leaky_split_puts_slices_of_a_patient_on_both_sides() -> None:
    held = slice_split(30, 32, n_folds=5, seed=0)
    assert sorted(np.bincount(held.ravel())) == [192] * 5
    assert (np.array([len(set(row)) for row in held]) == 5).mean() > 0.9


@pytest.mark.parametrize("seed", range(8))
def test_the_session_split_keeps_scans_whole_and_parts_patients(seed) -> None:
    rng = np.random.default_rng(seed)
    n_scans = rng.integers(1, 5, 30)
    owner = rng.permutation(np.repeat(np.arange(30), n_scans))
    labels = np.arange(30) % 2
    held = session_split(owner, labels, n_folds=5, seed=seed)
    assert held.shape == owner.shape
    for patient in range(30):
        # No more scans than folds: each is in a fold of its own.
        assert len(set(held[owner == patient])) == n_scans[patient]
    assert np.ptp(np.bincount(held, minlength=5)) <= 1
    for label in (0, 1):
        assert np.ptp(np.bincount(held[labels[owner] == label], minlength=5)) <= 1


def test_the_session_split_depends_on_its_seed() -> None:
    owner, labels = np.arange(40) % 20, np.arange(20) % 2
    splits = [session_split(owner, labels, n_folds=5, seed=seed).tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_the_arms_are_every_split_with_true_and_permuted_labels() -> None:
    assert [arm.name for arm in all_arms(sessions=True)] == [
        "patient_split_true_labels",
        "patient_split_permuted_labels",
        "slice_split_true_labels",
        "slice_split_permuted_labels",
        "session_split_true_labels",
        "session_split_permuted_labels",
    ]
    assert len(all_arms(sessions=False)) == 4
