"""Testing a finished model on another cohort: what stands beside what, and what stays inside."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation import EvaluationSpec
from mri_transfer.evaluation.external.adequacy import observed_to_expected, sample_adequacy
from mri_transfer.evaluation.external.aggregate import aggregate_document
from mri_transfer.evaluation.external.case_mix import (
    compare_case_mix,
    describe_case_mix,
    expected_auc,
)
from mri_transfer.evaluation.external.disclosure import is_told, joined_rows, safe_cuts
from mri_transfer.evaluation.external.evaluate import ExternalEvaluation, evaluate_external
from mri_transfer.evaluation.external.settings import ExternalSpec, ModelFacts, NewCohort
from mri_transfer.evaluation.external.transportability import cross_chosen, rechosen_threshold
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.intervals import Estimate, undefined, without_interval
from mri_transfer.metrics.task import Task
from mri_transfer.metrics.unpaired import (
    auc_standard_error,
    compare_figures,
    independent_difference,
)
from mri_transfer.report.pages.aggregate_report import aggregate_report
from mri_transfer.report.render.html import render_report
from mri_transfer.report.schemas import schema_of

SETTINGS = EvaluationSpec(bootstrap_samples=100)
LEFT_OUT = {"check": 2, "prepare": 7}


def make_new_cohort(
    n_positive: int = 20, n_negative: int = 20, *, effect: float = 1.2, seed: int = 0
) -> NewCohort:
    rng = np.random.default_rng(seed)
    n = n_positive + n_negative
    ids = [f"secret-{seed}-{i:03d}" for i in range(n)]
    positive = np.arange(n) < n_positive
    rng.shuffle(positive)
    logits = effect * (positive - 0.5) + rng.standard_normal(n)
    scores = 1 / (1 + np.exp(-logits))
    labels = np.where(positive, "AD", "CN")
    patients = pd.DataFrame(
        {
            "label": labels,
            "age": np.where(rng.random(n) < 0.1, np.nan, 70 + 8 * rng.standard_normal(n)),
            "sex": rng.choice(["F", "M"], n),
            "site": "hidden-site",
        },
        index=pd.Index(ids, name="patient_id"),
    )
    table = pd.DataFrame(
        {
            "repeat": 0,
            "fold": 0,
            "patient_id": ids,
            "label": labels,
            "score": scores,
            "predicted": np.where(scores >= 0.5, "AD", "CN"),
            "n_slices": 2,
        }
    )
    slices = pd.DataFrame(
        [
            (0, 0, name, f"scan-of-{name}", i, float(i), score)
            for name, score in zip(ids, scores, strict=True)
            for i in range(2)
        ],
        columns=["repeat", "fold", "patient_id", "scan_id", "slice", "z_mm", "score"],
    )
    return NewCohort(scores=table, slice_scores=slices, patients=patients)


def entry(value: float, low: float, high: float, n: int = 100) -> Estimate:
    return Estimate(value=value, ci_low=low, ci_high=high, n=n, method="DeLong, logit")


def make_model(**changes: Any) -> ModelFacts:
    facts: dict[str, Any] = {
        "version": "7",
        "digest": "ab" * 32,
        "task": Task(positive="AD", negative="CN"),
        "threshold": 0.5,
        "choices": {
            "procedure": {
                "pooling": "max",
                "head": {"kind": "linear"},
                "aggregation": "mean_logit",
            },
            "trials": [],
            "recalibration": {"method": "none", "parameters": {}},
            "recalibration_log_loss": {},
            "target_thresholds": {"sensitivity 0.9": 0.3},
            "threshold_from": "inner",
        },
        "performance": {"auc": entry(0.75, 0.65, 0.83), "sensitivity": entry(0.7, 0.6, 0.8)},
        "performance_from": "Cross-validation",
        "case_mix": None,
        "n_patients": 140,
        "trunk_weights": "imagenet",
    }
    return ModelFacts(**{**facts, **changes})


def examine(cohort: NewCohort, **spec: Any) -> ExternalEvaluation:
    return evaluate_external(cohort, make_model(), spec=ExternalSpec(**spec), settings=SETTINGS)


def test_the_difference_of_proportions_is_newcombes() -> None:
    # Newcombe 1998, table II: 56 of 70 against 48 of 80, method 10 (Wilson's intervals).
    parts = [
        entry(count / n, *proportion_confint(count, n, method="wilson"), n)
        for count, n in ((56, 70), (48, 80))
    ]
    found = independent_difference(*parts)
    assert found.ci_low == pytest.approx(0.0524, abs=5e-5)
    assert found.ci_high == pytest.approx(0.3339, abs=5e-5)


def test_a_difference_without_an_interval_says_why() -> None:
    bare = without_interval(0.9, "too few", n=3, method="none")
    found = independent_difference(entry(0.8, 0.7, 0.9), bare)
    assert (found.value, found.ci_low, found.reason) == (pytest.approx(-0.1), None, "too few")
    assert independent_difference(undefined("nobody", n=0), bare).value is None


def test_the_error_of_an_auc_is_read_off_its_interval() -> None:
    cohort = make_new_cohort(80, 90)
    labels = cohort.scores["label"] == "AD"
    area = delong_auc(labels, cohort.scores["score"])
    error = auc_standard_error(area.estimate, confidence=0.95)
    assert error == pytest.approx(math.sqrt(area.variance), rel=1e-9)


def test_equal_models_on_different_patients_rarely_differ() -> None:
    # Under no difference the p value is uniform: about 1 in 20 lies below .05.
    p = []
    for seed in range(200):
        figures = []
        for part in (2 * seed, 2 * seed + 1):
            cohort = make_new_cohort(50, 60, seed=part)
            labels = cohort.scores["label"] == "AD"
            figures.append({"auc": delong_auc(labels, cohort.scores["score"]).estimate})
        p.append(compare_figures(*figures)[0].p)
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.10
    assert 0.4 < np.mean(np.array(p) < 0.5) < 0.6


def test_the_auc_of_right_probabilities_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(3)
    p = np.round(rng.random(30), 1)
    wins = weight = 0.0
    for i, j in itertools.permutations(range(30), 2):
        chance = p[i] * (1 - p[j])
        weight += chance
        wins += chance * (1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0)
    assert expected_auc(p) == pytest.approx(wins / weight, rel=1e-12)
    assert expected_auc([0.0, 0.0]) is None
    assert expected_auc([0.4, 0.4]) == pytest.approx(0.5)


def test_case_mix_tells_a_wider_cohort_by_its_ratio() -> None:
    cohort = make_new_cohort(40, 40)
    scores = cohort.scores["score"].to_numpy()
    positive = (cohort.scores["label"] == "AD").to_numpy()
    logits = np.log(scores / (1 - scores))
    here = describe_case_mix(cohort.patients, 1 / (1 + np.exp(-2 * logits)), positive)
    before = describe_case_mix(cohort.patients, scores, positive)
    found = compare_case_mix(before, here).differences["linear_predictor"]
    assert found.sd_ratio == pytest.approx(2.0)
    assert found.difference == pytest.approx(logits.mean())
    assert "does not hold" in compare_case_mix(None, here).sentences[0]


def test_few_of_a_sex_are_not_counted_in_a_bundle() -> None:
    cohort = make_new_cohort(20, 20)
    cohort.patients["sex"] = ["M"] * 3 + ["F"] * 37
    scores, labels = cohort.scores["score"], cohort.scores["label"] == "AD"
    assert describe_case_mix(cohort.patients, scores, labels).sex == {"F": 37, "M": 3}
    assert describe_case_mix(cohort.patients, scores, labels, fewest=5).sex == {}


def test_nobody_chooses_the_threshold_of_their_own_call() -> None:
    cohort = make_new_cohort(15, 15)
    labels = (cohort.scores["label"] == "AD").to_numpy()
    scores = cohort.scores["score"].to_numpy()
    before = cross_chosen(labels, scores, seed=1, n_repeats=1)
    for i in range(len(labels)):
        moved = scores.copy()
        moved[i] = 1.0 - moved[i]
        after = cross_chosen(labels, moved, seed=1, n_repeats=1)
        place = (0, int(before.folds[0, i]))
        assert after.thresholds[place] == before.thresholds[place]


def test_a_threshold_chosen_on_noise_is_seen_through() -> None:
    apparent, honest = [], []
    for seed in range(20):
        cohort = make_new_cohort(20, 20, effect=0.0, seed=seed)
        labels = cohort.scores["label"] == "AD"
        found = rechosen_threshold(labels, cohort.scores["score"], seed=0)
        apparent.append(found.apparent["balanced_accuracy"])
        honest.append(found.cross_validated["balanced_accuracy"].value)
    assert np.mean(apparent) > 0.55
    assert abs(np.mean(honest) - 0.5) < 0.06


def test_sizes_are_those_of_pmvalsampsize() -> None:
    # Half the positive, O/E within 0.1 to either side: (1 - .5) / (.5 * (asinh(.1) / 1.96)^2).
    labels = np.arange(60) % 2
    scores = np.where(labels, 0.6, 0.4)
    found = sample_adequacy(labels, scores, expected_auc=0.75)
    needed = {criterion.figure: criterion.n_needed for criterion in found.criteria}
    assert needed["observed_to_expected"] == 386
    assert needed["patients_per_label"] == 200
    assert not found.all_enough
    ratio = observed_to_expected(labels, scores)
    assert ratio.value == pytest.approx(1.0)


def test_patients_who_were_trained_on_are_as_if_they_were_not_there() -> None:
    cohort = make_new_cohort(20, 20)
    known = cohort.patients.index[:6].tolist()
    found = examine(dataclasses.replace(cohort, overlapping=known))
    alone = examine(cohort.only(cohort.patients.index[6:].tolist()))
    assert found.document.plain()["populations"] == alone.document.plain()["populations"]
    assert found.document.plain()["cohort"]["n_overlapping"] == 6
    assert not set(found.scores["patient_id"]) & set(known)
    counted = examine(dataclasses.replace(cohort, overlapping=known), allow_overlap=True)
    assert counted.document.plain()["populations"]["all"]["n"] == 40
    assert all(
        one["p"] is None for one in counted.document.plain()["populations"]["all"]["comparison"]
    )


def test_a_cohort_that_was_trained_on_gives_no_figures() -> None:
    cohort = make_new_cohort(20, 20)
    with pytest.raises(EvaluationError, match="every patient of this cohort was trained on"):
        examine(dataclasses.replace(cohort, overlapping=cohort.patients.index.tolist()))


def test_the_input_contract_moves_only_its_own_figures() -> None:
    cohort = make_new_cohort(20, 20)
    outside = {name: ("Age",) for name in cohort.patients.index[:9]}
    found = examine(dataclasses.replace(cohort, faults=outside)).document.plain()
    assert found["populations"]["all"] == examine(cohort).document.plain()["populations"]["all"]
    inside = cohort.only(cohort.patients.index[9:].tolist())
    assert (
        found["populations"]["in_contract"]
        == examine(inside).document.plain()["populations"]["all"]
    )
    assert found["cohort"]["outside_contract"] == [{"check": "Age", "n": 9}]


@pytest.mark.parametrize(("n_positive", "n_negative"), [(0, 12), (12, 0)])
def test_one_label_tells_what_it_can(n_positive: int, n_negative: int) -> None:
    found = examine(make_new_cohort(n_positive, n_negative))
    told = found.document.plain()["populations"]["all"]["one_label"]
    rate = "sensitivity" if n_positive else "specificity"
    called = found.scores["predicted"] == ("AD" if n_positive else "CN")
    assert told[rate]["value"] == called.mean()
    assert found.evaluation is None
    assert found.document.plain()["populations"]["all"]["figures"] is None


@pytest.mark.parametrize("n_positive", [1, 2, 3])
@pytest.mark.parametrize("threshold", ["bundle", "rechosen"])
def test_few_patients_of_a_label_give_reasons_and_no_crash(n_positive: int, threshold: str) -> None:
    cohort = make_new_cohort(n_positive, 15)
    if threshold == "rechosen" and n_positive < 3:
        with pytest.raises(EvaluationError, match="few"):
            examine(cohort, threshold=threshold)
        return
    found = examine(cohort, threshold=threshold)
    json.dumps(found.document.plain(), allow_nan=False)
    assert list(faults("external", found.document.plain())) == []


def test_thresholds_chosen_anew_leave_discrimination_alone() -> None:
    cohort = make_new_cohort(20, 25)
    own, anew = (
        examine(cohort, threshold=name).document.plain()["populations"]["all"]["figures"]
        for name in ("bundle", "rechosen")
    )
    assert own["auc"] == anew["auc"]
    assert own["sensitivity"] != anew["sensitivity"]


def faults(name: str, content: Any) -> Iterator[str]:
    for error in jsonschema.Draft202012Validator(schema_of(name)).iter_errors(content):
        yield f"{list(error.absolute_path)}: {error.message[:200]}"


def test_the_document_is_as_its_schema_says() -> None:
    schema = schema_of("external")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(faults("external", examine(make_new_cohort()).document.plain())) == []
    assert list(faults("external", examine(make_new_cohort(0, 9)).document.plain())) == []


def whole_numbers(content: Any) -> Iterator[int]:
    if isinstance(content, dict):
        for value in content.values():
            yield from whole_numbers(value)
    elif isinstance(content, list):
        for value in content:
            yield from whole_numbers(value)
    elif isinstance(content, int) and not isinstance(content, bool):
        yield content


def cells(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        if "cells" in content:
            yield from (content["head"], *content["cells"])
        for value in content.values():
            yield from cells(value)
    elif isinstance(content, list):
        for value in content:
            yield from cells(value)


@pytest.mark.parametrize(("n_positive", "n_negative"), [(24, 26), (7, 60), (3, 30), (0, 20)])
def test_what_is_sent_out_holds_no_small_count_and_nobody(n_positive: int, n_negative: int) -> None:
    cohort = make_new_cohort(n_positive, n_negative, seed=4)
    names = cohort.patients.index.tolist()
    cohort = dataclasses.replace(cohort, faults={name: ("Age",) for name in names[:3]})
    made = aggregate_document(examine(cohort), cohort, LEFT_OUT)
    document = made.plain()
    assert list(faults("aggregate", document)) == []
    assert [n for n in whole_numbers(document) if 1 <= n <= 4] == []
    text = json.dumps(document) + render_report(aggregate_report(made))
    assert not [name for name in [*names, "scan-of", "hidden-site", "secret"] if name in text]
    shown = aggregate_report(made).plain()
    assert not set(cells(shown)) & {"1", "2", "3", "4"}


@functools.cache
def some_evaluation() -> ExternalEvaluation:
    """One evaluation; what is sent out of calls and of the cohort does not depend on it."""
    return examine(make_new_cohort(18, 25))


@pytest.mark.parametrize("seed", range(40))
def test_no_small_count_can_be_computed_from_what_is_sent_out(seed: int) -> None:
    cohort = make_new_cohort(18, 25, seed=seed)
    found = dataclasses.replace(some_evaluation(), scores=cohort.scores)
    document = aggregate_document(found, cohort, LEFT_OUT).plain()
    rates = {"AD": "sensitivity", "CN": "specificity"}
    for label, name in rates.items():
        scores = found.scores.loc[found.scores["label"] == label, "score"].to_numpy()
        # Every threshold from which a count of the label follows, by whatever figure.
        known = {
            one["threshold"]
            for one in document["calls"]["thresholds"]
            if set(one["figures"]) - {next(iter(set(rates.values()) - {name}))}
        }
        ends = [0.0, *sorted(known), 1.1]
        between = [((scores >= a) & (scores < b)).sum() for a, b in itertools.pairwise(ends)]
        assert all(is_told(int(count)) for count in between)
        # And from all of them with the bands of scores together.
        bands = document["calls"]["score_bands"][label]
        assert sorted(known) == [one["from"] for one in bands[1:]]
        assert [one["n"] for one in bands] == between
    for rows in (document["sex"], document["age"]["bands"]):
        for row in rows or ():
            assert is_told(row["n_positive"])
            assert is_told(row["n_negative"])
        if rows:
            assert sum(row["n_positive"] for row in rows) == 18


def test_groups_are_joined_until_none_is_small() -> None:
    assert joined_rows("abc", [[5, 6], [2, 9], [7, 1]]) == (["a", "b or c"], [[5, 6], [9, 10]])
    assert joined_rows("ab", [[8, 9], [0, 3]]) == (["a or b"], [[8, 12]])
    assert joined_rows("ab", [[1, 9], [0, 3]]) is None


def test_cuts_leave_groups_of_none_or_five() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        values, candidates = rng.random(rng.integers(0, 40)), rng.random(8).tolist()
        cuts = safe_cuts(values, candidates)
        groups = np.histogram(values, [0.0, *sorted(cuts), 1.0])[0]
        assert len(values) < 5 or all(is_told(int(count)) for count in groups)
        assert len(values) >= 5 or not cuts
