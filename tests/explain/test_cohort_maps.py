"""Cohort maps against a slow oracle; nobody is explained by a head that saw them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from mri_transfer.explain.cohort_maps import centred_maps, own_heads, score_mismatch
from mri_transfer.explain.scan_maps import ScanMaps
from tests.explain.phantom import make_folds, make_table, make_trained

N_SLICES, SHAPE = 3, (3, 2, 2)


def _scan(seed: int) -> ScanMaps:
    rng = np.random.default_rng(seed)
    exact = rng.normal(size=(4, *SHAPE)).astype(np.float32)
    weights = np.full((4, N_SLICES), 1 / N_SLICES, dtype=np.float32)
    return ScanMaps(
        exact=exact,
        gradcam=rng.normal(size=(2, *SHAPE)).astype(np.float32),
        randomised=rng.normal(size=(2, *SHAPE)).astype(np.float32),
        # As linear heads have it: what the features contribute, and a bias.
        logits=exact.sum((2, 3)) / weights + 0.7,
        weights=weights,
        inside=np.ones(SHAPE, dtype=np.float32),
        shape=np.array([4, 4, 4]),
        affine=np.eye(4),
        z_mm=np.arange(3.0),
        mismatch=seed / 1000,
    )


@pytest.fixture
def found():
    table, folds, trained = make_table(), make_folds(), make_trained()
    scans = [_scan(i) for i in range(len(table.scan_ids))]
    cohort = centred_maps(table.scan_ids, table.patient_ids, scans.__getitem__, trained, folds)
    return table, folds, trained, scans, cohort


def test_own_heads_never_saw_their_patient(found) -> None:
    _, folds, trained, _, _ = found
    for p, name in enumerate(folds.patient_ids):
        heads = [trained[h] for h in own_heads(trained, folds)[name]]
        assert [one.repeat for one in heads] == [0, 1]
        assert all(folds.assignment[one.repeat, p] == one.fold for one in heads)


def test_maps_are_those_of_a_slow_oracle(found) -> None:
    table, folds, trained, scans, cohort = found
    for i, owner in enumerate(table.patient_ids):
        for r in (0, 1):
            p = folds.patient_ids.index(owner)
            h = next(
                h for h, one in enumerate(trained)
                if (one.repeat, one.fold) == (r, folds.assignment[r, p])
            )  # fmt: skip
            means = []
            for q, name in enumerate(folds.patient_ids):
                if folds.assignment[r, q] == folds.assignment[r, p]:
                    continue
                own = [scans[k].exact[h] for k, o in enumerate(table.patient_ids) if o == name]
                means.append(np.mean(own, axis=0))
            wanted = scans[i].exact[h] - np.mean(means, axis=0)
            assert np.allclose(cohort.by_repeat[i, r], wanted, atol=1e-5)


def test_a_map_adds_up_to_the_log_odds_above_the_average_training_patient(found) -> None:
    *_, cohort = found
    assert np.abs(cohort.residual).max() < 1e-5
    assert cohort.mismatch == pytest.approx(0.008)


def test_slice_weights_add_up_to_the_log_odds(found) -> None:
    *_, cohort = found
    wanted = cohort.log_odds.mean(axis=1)
    assert np.allclose(cohort.slice_weights.sum(axis=1), wanted, atol=1e-5)


def test_scores_of_maps_are_held_against_those_recorded(found) -> None:
    table, folds, trained, scans, _ = found
    rows = []
    for one in trained:
        for p, name in enumerate(folds.patient_ids):
            if folds.assignment[one.repeat, p] != one.fold:
                continue
            h = trained.index(one)
            own = [
                (scans[i].logits[h] * scans[i].weights[h]).sum()
                for i, owner in enumerate(table.patient_ids)
                if owner == name
            ]
            rows.append((one.repeat, name, expit(np.mean(own))))
    scores = pd.DataFrame(rows, columns=["repeat", "patient_id", "score"])
    given = (table.patient_ids, scans.__getitem__, trained, folds)
    assert score_mismatch(*given, scores) < 1e-6
    other = scores.assign(score=scores["score"].where(scores.index != 3, scores["score"] + 0.05))
    assert score_mismatch(*given, other) == pytest.approx(0.05, abs=1e-6)
