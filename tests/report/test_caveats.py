"""The gravest caveats come first, and those of the whole run appear when their rule is met."""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any

import pandas as pd
import pytest

from mri_transfer.evaluation import caveats as evaluation_caveats
from mri_transfer.evaluation.notices import study_notices
from mri_transfer.evaluation.results import Caveat
from mri_transfer.report import ReportInputs
from mri_transfer.report import caveats as report_caveats
from mri_transfer.report.caveats import GRAVITY, rank_caveats, run_caveats
from tests.report.documents import (
    make_audit,
    make_check,
    make_inputs,
    make_shortcut,
    replaced,
    unknown_site,
)


def ranked(*codes: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Rank caveats whose texts are their codes."""
    return rank_caveats([Caveat(code=code, text=code) for code in codes])


def codes(inputs: ReportInputs) -> list[str]:
    return [caveat.code for caveat in run_caveats(inputs)]


@pytest.fixture(scope="module")
def clean() -> ReportInputs:
    """Return a run against which nothing is to be said."""
    inputs = make_inputs()
    audit = {
        **make_audit(),
        "duplicates": {**make_audit()["duplicates"], "identical_files": [], "pairs": []},
        "checks": [make_check("folds_partition")],
        "shortcuts": {"n_folds": 5, "n_permutations": 100, "covariates": [make_shortcut()]},
    }
    return replaced(inputs, audit=audit)


def test_every_caveat_has_a_gravity_with_a_reason_and_every_gravity_a_caveat() -> None:
    source = inspect.getsource(evaluation_caveats) + inspect.getsource(report_caveats)
    notices = {one.code for one in study_notices(synthetic=True, trunk_weights="random")}
    assert notices | set(re.findall(r'return "(\w+)", \(?', source)) == set(GRAVITY)
    ranks = [gravity.rank for gravity in GRAVITY.values()]
    assert len(set(ranks)) == len(ranks)
    assert ranks == sorted(ranks, reverse=True)
    assert all(gravity.reason and gravity.subject for gravity in GRAVITY.values())


PAIR = make_audit()["duplicates"]["pairs"][0]


@pytest.mark.parametrize(
    ("found", "top"),
    [
        # The cohort of OASIS-1: nothing gained over brain volume, older cases, too few patients.
        (
            ["small_sample", "age_difference", "site_unknown", "baseline_not_beaten",
             "image_baseline_not_beaten", "internal_testing_only"],
            ["baseline_not_beaten", "age_difference", "small_sample"],
        ),
        # A demonstration: that it is one comes before all.
        (
            ["small_sample", "baseline_not_beaten", "synthetic_cohort", "few_of_a_label",
             "wide_interval"],
            ["synthetic_cohort", "baseline_not_beaten", "few_of_a_label"],
        ),
        # A broken audit comes before what the figures say.
        (
            ["baseline_not_beaten", "guessing_not_excluded", "checks_failed", "random_trunk"],
            ["random_trunk", "checks_failed", "guessing_not_excluded"],
        ),
        # Of one subject the gravest: failed checks and likely twins are both about a leak.
        (
            ["patients_alike", "checks_failed", "small_sample", "single_site", "unsteady_calls"],
            ["checks_failed", "small_sample", "unsteady_calls"],
        ),
        # A large cohort of one site with scores that are no probabilities.
        (["single_site", "internal_testing_only", "miscalibrated"],
         ["miscalibrated", "single_site", "internal_testing_only"]),
        (["internal_testing_only"], ["internal_testing_only"]),
        ([], []),
    ],
)  # fmt: skip
def test_the_three_gravest_of_different_subjects_come_first(
    found: list[str], top: list[str]
) -> None:
    for order in itertools.islice(itertools.permutations(found), 24):
        first, others = ranked(*order)
        assert list(first) == top
        assert sorted((*first, *others)) == sorted(found)
        assert list(others) == sorted(others, key=lambda code: -GRAVITY[code].rank)


def test_no_caveat_is_lost_and_an_unknown_one_is_read_among_the_rest() -> None:
    first, others = ranked("from_a_later_version", "single_site", "synthetic_cohort", "no_baseline")
    assert first == ("synthetic_cohort", "no_baseline", "single_site")
    assert others == ("from_a_later_version",)


def test_a_text_that_stands_twice_is_shown_once() -> None:
    twice = [Caveat(code=code, text="few") for code in ("small_sample", "wide_interval")]
    assert rank_caveats(twice) == (("few",), ())


def test_nothing_is_said_of_a_run_where_nothing_is_wrong(clean: ReportInputs) -> None:
    assert run_caveats(clean) == []


@pytest.mark.parametrize(
    ("part", "value", "code"),
    [
        ("checks", [], "not_audited"),
        ("checks", [make_check("folds_partition", {"fold": 1})], "checks_failed"),
        ("checks", [make_check("folds_partition", n_checked=0)], "checks_failed"),
        ("duplicates", {"pairs": [{**PAIR, "across_patients": True}]}, "patients_alike"),
        ("duplicates", {"pairs": [{**PAIR, "across_patients": False}]}, None),
        ("duplicates", {"identical_files": [["a", "b"]]}, "identical_files"),
        ("shortcuts", {"covariates": [{**unknown_site(), "verdict": "possible"}]},
         "shortcut_possible"),
        ("shortcuts", {"covariates": [{**unknown_site(), "verdict": "confounded"}]},
         "shortcut_possible"),
        ("shortcuts", {"covariates": [{**unknown_site(), "verdict": "readable"}]}, None),
    ],
)  # fmt: skip
def test_what_the_audit_finds_raises_its_own_caveat(
    clean: ReportInputs, part: str, value: Any, code: str | None
) -> None:
    audit = clean.audit.plain()
    audit[part] = {**audit[part], **value} if isinstance(value, dict) else value
    found = codes(replaced(clean, audit=audit))
    assert found == ([code] if code else [])


def test_a_run_without_audit_says_so(clean: ReportInputs) -> None:
    assert codes(replaced(clean, audit=None)) == ["not_audited"]


@pytest.mark.parametrize(("n", "said"), [(7, False), (8, True)])
def test_calls_that_change_between_repeats_are_told_from_a_fifth_on(
    clean: ReportInputs, n: int, said: bool
) -> None:
    scores = clean.patient_scores.copy()
    changed = sorted(scores["patient_id"].unique())[:n]
    at = scores["patient_id"].isin(changed) & (scores["repeat"] == 1)
    scores.loc[at, "predicted"] = scores.loc[at, "predicted"].map({"AD": "CN", "CN": "AD"})
    found = run_caveats(replaced(clean, patient_scores=scores))
    assert [caveat.code for caveat in found] == (["unsteady_calls"] if said else [])
    assert not said or found[0].text.startswith("8 of 40 patients")


@pytest.mark.parametrize(("n", "said"), [(4, False), (5, True)])
def test_exclusions_are_told_from_a_tenth_of_the_scans_on(
    clean: ReportInputs, n: int, said: bool
) -> None:
    excluded = pd.concat([clean.excluded.iloc[:1]] * n)
    found = codes(replaced(clean, excluded=excluded))
    assert found == (["many_excluded"] if said else [])
