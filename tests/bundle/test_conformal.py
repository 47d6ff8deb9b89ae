"""Sets of labels: against a slow oracle and crepes, and whether they cover."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from crepes import ConformalClassifier

from mri_transfer.bundle.conformal import (
    ConformalSets,
    ConformalSpec,
    calibrate,
    label_p_values,
    measure_coverage,
)
from mri_transfer.training.cross_validation import cross_validate
from mri_transfer.training.estimator import configured_estimator
from mri_transfer.training.folds import make_folds
from tests.bundle.bundles import RECIPE, made_up_cohort


def some_scores(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 2 == 1
    return 1 / (1 + np.exp(-rng.normal(np.where(positive, 0.7, -0.7)))), positive


def slow_p(scores, positive, new, label: bool) -> float:
    """From the definition: how many patients of the label are as strange as the new one."""
    strange = 1
    for score, own, compared in zip(scores, positive, new, strict=True):
        if own == label:
            strangeness = (1 - score, 1 - compared) if label else (score, compared)
            strange += strangeness[0] >= strangeness[1]
    return strange / (sum(own == label for own in positive) + 1)


def test_p_values_are_those_of_a_slow_oracle() -> None:
    scores, positive = some_scores(41, seed=1)
    # As if by several heads: the new patient's score differs from fold to fold. Some are ties.
    new = np.random.default_rng(2).random((41, 6))
    new[:, 3] = scores[7]
    p = label_p_values(scores, positive, new)
    for j in range(6):
        expected = [slow_p(scores, positive, new[:, j], label) for label in (False, True)]
        np.testing.assert_allclose(p[j], expected, rtol=1e-12)


def test_with_one_head_they_are_those_of_crepes() -> None:
    scores, positive = some_scores(60, seed=3)
    new = np.random.default_rng(4).random(20)
    by_crepes = ConformalClassifier()
    by_crepes.fit(np.where(positive, 1 - scores, scores), bins=positive.astype(int))
    for label in (0, 1):
        alphas = np.stack([new, 1 - new], axis=1)
        expected = by_crepes.predict_p(
            alphas, bins=np.full(20, label), smoothing=False, all_classes=True
        )[:, label]
        p = label_p_values(scores, positive, np.tile(new, (60, 1)))[:, label]
        np.testing.assert_allclose(p, expected, rtol=1e-12)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_with_one_head_each_label_is_covered_as_often_as_stated(coverage) -> None:
    """Split conformal: over many draws the coverage is at least the stated one, barely more."""
    covered: list[np.ndarray] = []
    for seed in range(300):
        scores, positive = some_scores(78, seed=seed)
        new, truth = some_scores(40, seed=seed + 10_000)
        kept = label_p_values(scores, positive, np.tile(new, (78, 1))) > 1 - coverage
        covered.append(kept[np.arange(40), truth.astype(int)])
    for label in (0, 1):
        found = np.concatenate([one[label::2] for one in covered]).mean()
        assert coverage - 0.01 < found < coverage + 1 / 40 + 0.01


def test_a_set_can_hold_none_one_or_both() -> None:
    scores, positive = np.linspace(0.05, 0.95, 40), np.repeat([False, True], 20)
    kept = label_p_values(scores, positive, np.tile([0.01, 0.5, 0.99], (40, 1))) > 0.1
    assert kept.tolist() == [[True, False], [False, False], [False, True]]
    blurred = label_p_values(scores, np.tile([False, True], 20), np.full((40, 1), 0.5)) > 0.1
    assert blurred.tolist() == [[True, True]]


def validated(**signal):
    cohort = made_up_cohort(n_patients=36, **signal)
    names = cohort.patient_ids
    folds = make_folds(names, [cohort.labels[n] for n in names], spec=RECIPE.folds, seed=5)
    result = cross_validate(configured_estimator(RECIPE), cohort, folds, seed=0)
    return result, cohort


@pytest.fixture(scope="module")
def sets() -> ConformalSets:
    result, _ = validated()
    return calibrate(result.trained, result.patients.table, positive="AD", inner=result.inner.table)


def test_each_calibration_patient_is_compared_by_the_head_that_held_the_patient_out(sets) -> None:
    result, cohort = validated()
    table = cohort.tables["max"]
    names = list(table.patient_ids)
    by_head = [one.patients(one.slices(table.features, names), names) for one in sets.heads]
    known = dict(
        zip(result.patients.table["patient_id"], result.patients.table["score"], strict=True)
    )
    fold_of = dict(
        zip(result.patients.table["patient_id"], result.patients.table["fold"], strict=True)
    )
    expected = sorted((fold_of[name], by_head[fold_of[name]][name]) for name in known)
    found = sorted(zip(sets.fold.tolist(), sets.scores.tolist(), strict=True))
    np.testing.assert_allclose(np.array(found), np.array(expected), atol=1e-6)


def test_a_new_patient_is_compared_fold_by_fold(sets) -> None:
    new = np.random.default_rng(1).random((len(sets.heads), 3))
    positive = sets.positive == 1
    for j, p in enumerate(sets.p_values(new)):
        by_fold = [new[fold, j] for fold in sets.fold]
        expected = [slow_p(sets.scores, positive, by_fold, label) for label in (False, True)]
        np.testing.assert_allclose(p, expected, rtol=1e-12)


def test_sets_are_read_as_they_were_written_and_name_nobody(sets, tmp_path) -> None:
    sets.write(tmp_path)
    again = ConformalSets.read(tmp_path)
    assert again is not None
    new = np.random.default_rng(0).random((len(sets.heads), 4))
    assert np.array_equal(again.p_values(new), sets.p_values(new))
    assert again.facts == sets.facts
    texts = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert not any("p00" in text or "training_patients" in text for text in texts)
    assert ConformalSets.read(tmp_path / "heads") is None


def test_the_place_among_patients_is_the_share_that_scores_lower(sets) -> None:
    for score, expected in ((-1.0, 0.0), (2.0, 1.0)):
        new = np.full((len(sets.heads), 1), score)
        assert sets.place(new, positive=True)[0] == expected


def test_coverage_is_measured_on_patients_who_took_part_in_nothing() -> None:
    """Where calibration and test patients share a distribution, the coverage is the stated one."""
    rng = np.random.default_rng(7)
    names = [f"p{i}" for i in range(400)]
    labels = np.where(np.arange(400) % 2, "AD", "CN")
    score = rng.normal(np.where(labels == "AD", 0.4, 0.0))
    fold = rng.integers(0, 5, 400)
    scores = pd.DataFrame(
        {"repeat": 0, "fold": fold, "patient_id": names, "label": labels, "score": score}
    )
    inner = pd.concat(
        [
            scores[scores["fold"] != k].assign(fold=k)[["repeat", "fold", "patient_id", "score"]]
            for k in range(5)
        ]
    )
    found = measure_coverage(scores, inner, positive="AD", spec=ConformalSpec())
    for name in ("all", "positive", "negative"):
        entry = found["coverage"][name]
        assert entry["ci_low"] < 0.9 < entry["ci_high"]
    assert sum(found["sizes"].values()) == pytest.approx(1)
    # Calibrated on the wrong scores it shows.
    shifted = inner.assign(score=inner["score"] * 0.3)
    broken = measure_coverage(scores, shifted, positive="AD", spec=ConformalSpec())
    assert broken["coverage"]["all"]["value"] < 0.8
