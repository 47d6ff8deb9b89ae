"""Baselines from volumes: closed forms of the percentile, and who may teach them what."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mri_transfer.evaluation.ventricular_norm import (
    NormativePercentile,
    VentricularNorm,
    normative_people,
)
from mri_transfer.evaluation.volumetry_baselines import (
    PERCENTILE,
    VOLUMETRY,
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


def norm(**effects: float) -> VentricularNorm:
    volumes, patients = cohort(**effects)
    people = normative_people(volumes, _names(), patients)
    assert people is not None
    found = VentricularNorm.learn(people[::2])
    assert found is not None
    return found


def of_share(share: float) -> BrainVolumes:
    shares = np.full(len(VOLUME_NAMES), 0.05)
    shares[:2] = share / 2
    return BrainVolumes(shares=shares, intracranial_ml=600.0)


def test_a_norm_says_what_least_squares_and_students_t_say() -> None:
    volumes, patients = cohort(by_age=0.1)
    healthy = np.arange(0, N, 2)
    age = patients["age"].astype(float).to_numpy()
    male = (patients["sex"] == "M").to_numpy().astype(float)
    design = np.column_stack([np.ones(N), age, male])[healthy]
    values = np.log([volumes[i].ventricles for i in healthy])
    fit, (rss,) = np.linalg.lstsq(design, values, rcond=None)[:2]
    at, degrees = np.array([1.0, 71.0, 1.0]), len(healthy) - 3
    leverage = at @ np.linalg.inv(design.T @ design) @ at
    error = np.sqrt(rss / degrees * (1 + leverage))
    expected = stats.t.cdf((np.log(0.06) - at @ fit) / error, degrees)
    found = norm(by_age=0.1).percentile(of_share(0.06), age_years=71.0, sex="M")
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_norm_is_the_same_after_json() -> None:
    known = norm(by_age=0.05)
    again = VentricularNorm.from_dict(json.loads(json.dumps(known.as_dict())))
    person = {"age_years": 80.0, "sex": "F"}
    assert again.percentile(of_share(0.05), **person) == known.percentile(of_share(0.05), **person)
    assert again.as_dict() == known.as_dict()


@pytest.mark.parametrize(
    ("age_years", "sex", "why"),
    [
        (75.0, "F", ""),
        (None, "F", "age not known"),
        (None, "", "age and sex not known"),
        (30.0, "F", "age 30 outside"),
        (75.0, "X", "sex 'X' not in the norm"),
    ],
)
def test_a_norm_says_why_it_has_no_percentile(age_years: float | None, sex: str, why: str) -> None:
    said = norm().why_not(age_years, sex)
    assert said.startswith(why)
    assert bool(said) == bool(why)


def test_fewer_than_twenty_people_make_no_norm() -> None:
    volumes, patients = cohort()
    people = normative_people(volumes, _names(), patients)
    assert people is not None
    assert VentricularNorm.learn(people[:20]) is not None
    assert VentricularNorm.learn(people[:19]) is None
    assert VentricularNorm.learn(people[:20].assign(sex="")) is None
