"""Baselines from volumes: closed forms of the percentile, and who may teach them what."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from scipy import stats

from mri_transfer.evaluation.volumetry_baselines import (
    PERCENTILE,
    VOLUMETRY,
    NormativePercentile,
    volumetry_baselines,
)
from mri_transfer.metrics.discrimination import auc
from mri_transfer.scans.volumetry import VOLUME_NAMES, BrainVolumes
from mri_transfer.training.folds import Folds, make_folds
from mri_transfer.training.predictions import PatientScores
from mri_transfer.training.settings import FoldSpec

N = 48


def cohort(*, effect: float = 0.0, by_age: float = 0.0) -> tuple[list[BrainVolumes], pd.DataFrame]:
    """Return volumes and patients; ventricles widen with age and, in every second one, with AD."""
    rng = np.random.default_rng(1)
    age = rng.uniform(60, 90, N)
    log_share = -3 + by_age * (age - 75) + effect * (np.arange(N) % 2)
    shares = rng.normal(0.05, 0.005, (N, len(VOLUME_NAMES)))
    share = np.exp(log_share + rng.normal(0, 0.2, N))
    shares[:, :2] = share[:, None] / 2
    volumes = [BrainVolumes(shares=row, intracranial_ml=600.0) for row in shares]
    sexes = ["F" if i % 3 else "M" for i in range(N)]
    patients = pd.DataFrame({"age": age.astype(str), "sex": sexes}, index=_names())
    return volumes, patients


def _names() -> list[str]:
    return [f"p{i:03d}" for i in range(N)]


def _folds() -> Folds:
    labels = ["AD" if i % 2 else "CN" for i in range(N)]
    return make_folds(_names(), labels, spec=FoldSpec(n_folds=3, n_repeats=1), seed=0)


def scored(
    volumes: list[BrainVolumes], patients: pd.DataFrame, *, folds: Folds | None = None
) -> dict[str, pd.DataFrame]:
    return volumetry_baselines(
        volumes,
        _names(),
        patients=patients,
        folds=folds or _folds(),
        positive_label="AD",
        negative_label="CN",
        seed=0,
    )


def area(table: pd.DataFrame) -> float:
    return float(auc((table["label"] == "AD").to_numpy().astype(int), table["score"].to_numpy()))


def test_wide_ventricles_are_told_by_both() -> None:
    found = scored(*cohort(effect=1.0))
    assert list(found) == [VOLUMETRY, PERCENTILE]
    for table in found.values():
        PatientScores(table=table)
        assert area(table) > 0.95


def test_what_age_explains_moves_no_percentile() -> None:
    volumes, patients = cohort(by_age=0.1)
    found = scored(volumes, patients)[PERCENTILE]
    score = found.set_index("patient_id")["score"].loc[_names()]
    age = patients["age"].astype(float)
    share = np.array([one.ventricles for one in volumes])
    assert stats.spearmanr(share, age)[0] > 0.9
    assert abs(stats.spearmanr(score, age)[0]) < 0.3


def test_without_ages_there_is_no_percentile() -> None:
    volumes, patients = cohort()
    assert list(scored(volumes, patients.assign(age=""))) == [VOLUMETRY]
    assert list(scored(volumes, patients.drop(columns="sex"))) == [VOLUMETRY]


def test_one_unknown_age_is_scored_as_the_mean() -> None:
    volumes, patients = cohort(effect=1.0)
    patients.loc["p005", "age"] = ""
    assert scored(volumes, patients)[PERCENTILE]["score"].between(0, 1).all()


def test_a_test_patients_label_changes_no_score_of_its_fold() -> None:
    folds, (volumes, patients) = _folds(), cohort(effect=1.0)
    held = folds.assignment[0] == 1
    flipped = tuple(
        {"AD": "CN", "CN": "AD"}[label] if out else label
        for label, out in zip(folds.labels, held, strict=True)
    )
    before = scored(volumes, patients, folds=folds)
    after = scored(volumes, patients, folds=dataclasses.replace(folds, labels=flipped))
    for name, table in before.items():
        mine = table["fold"] == 1
        columns = ["patient_id", "score", "predicted"]
        assert table[mine][columns].equals(after[name][mine][columns])


def test_without_covariates_the_percentile_is_that_of_one_more_draw() -> None:
    healthy = np.array([1.0, 2.0, 4.0, 5.0])
    model = NormativePercentile().fit(
        pd.DataFrame({"v": [*healthy, 90.0]}), np.array([0, 0, 0, 0, 1])
    )
    error = healthy.std(ddof=1) * np.sqrt(1 + 1 / 4)
    expected = stats.t.cdf((4.5 - healthy.mean()) / error, 3)
    found = model.predict_proba(pd.DataFrame({"v": [4.5, healthy.mean()]}))
    np.testing.assert_allclose(found[:, 1], [expected, 0.5])
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_percentiles_of_unseen_healthy_people_are_uniform() -> None:
    rng = np.random.default_rng(2)
    ranks = []
    for _ in range(300):
        age = rng.uniform(60, 90, 13)
        value = 0.05 * age + rng.normal(0, 1, 13)
        table = pd.DataFrame({"v": value, "age": age})
        model = NormativePercentile().fit(table[:12], np.zeros(12, dtype=int))
        ranks.append(model.predict_proba(table[12:])[0, 1])
    assert stats.kstest(ranks, "uniform").pvalue > 0.01


def test_of_too_few_people_nothing_is_learnt() -> None:
    table = pd.DataFrame({"v": [1.0, 2.0, 3.0], "age": [60.0, 70.0, 80.0]})
    model = NormativePercentile().fit(table, np.array([0, 0, 1]))
    np.testing.assert_array_equal(model.predict_proba(table), 0.5)
