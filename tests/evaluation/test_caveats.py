"""Caveats appear exactly when their rule is met."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from mri_transfer.evaluation import find_caveats, standardised_mean_difference
from tests.documents import evaluation_with


def entry(value, low, high):
    return {"value": value, "ci_low": low, "ci_high": high}


@pytest.fixture
def document():
    """An evaluation that nothing can be held against."""
    return {
        "synthetic": False,
        "trunk_weights": "imagenet",
        "positive_label": "AD",
        "negative_label": "CN",
        "n_patients": 400,
        "n_positive": 200,
        "n_folds": 1,
        "patient": {
            "auc": entry(0.8, 0.75, 0.85),
            "calibration_intercept": entry(0.1, -0.1, 0.3),
            "calibration_slope": entry(0.9, 0.7, 1.1),
        },
        "baselines": {
            "age": {"auc": entry(0.60, 0.5, 0.7), "auc_difference": entry(0.2, -0.1, 0.3)},
            "nwbv": {"auc": entry(0.7, 0.6, 0.8), "auc_difference": entry(0.1, 0.02, 0.18)},
            "voxels": {
                "kind": "image",
                "auc": entry(0.75, 0.7, 0.8),
                "auc_difference": entry(0.05, 0.01, 0.1),
            },
            "majority": {
                "kind": "constant",
                "auc": entry(0.5, None, None),
                "auc_difference": entry(0.3, 0.2, 0.4),
            },
        },
        "age_matched": {
            "matched": {"auc": entry(0.7, 0.6, 0.8)},
            "weighted": {"auc": entry(0.7, 0.6, 0.8)},
        },
    }


@pytest.fixture
def patients():
    label = ["AD", "CN"] * 10
    age = [70.0 + i % 7 for i in range(20)]
    return pd.DataFrame({"label": label, "age": age, "site": ["one", "two"] * 10})


def codes(document, patients):
    return [caveat.code for caveat in find_caveats(evaluation_with(document), patients)]


def test_nothing_is_said_where_nothing_is_wrong(document, patients):
    assert find_caveats(evaluation_with(document), patients) == ()


def changed(document, path, value):
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("n_positive",), 99, "small_sample"),
        (("n_positive",), 301, "small_sample"),
        (("synthetic",), True, "synthetic_cohort"),
        (("trunk_weights",), "random", "random_trunk"),
        (("patient", "auc", "value"), 0.89, "auc_suspicious"),
        (("patient", "calibration_slope"), entry(0.5, 0.3, 0.7), "miscalibrated"),
        (("patient", "calibration_intercept"), entry(0.5, 0.3, 0.7), "miscalibrated"),
        (("baselines", "nwbv", "auc_difference"), entry(0.1, -0.02, 0.2), "baseline_not_beaten"),
        (("baselines", "nwbv", "auc_difference"), entry(-0.2, -0.3, -0.1), "baseline_not_beaten"),
        (("baselines", "nwbv", "auc", "value"), 0.96, "baseline_suspicious"),
        (("baselines",), {}, "no_baseline"),
        (("age_matched", "matched", "auc"), entry(0.6, 0.5, 0.7), "age_matched_not_shown"),
        (("age_matched", "weighted", "auc"), entry(0.4, 0.3, 0.5), "age_matched_not_shown"),
        (
            ("baselines", "voxels", "auc_difference"),
            entry(0.05, -0.01, 0.1),
            "image_baseline_not_beaten",
        ),
        (
            ("baselines", "voxels", "auc_difference"),
            entry(0.05, None, None),
            "image_baseline_not_beaten",
        ),
    ],
)
def test_each_rule_raises_its_own_caveat_and_no_other(document, patients, path, value, code):
    assert codes(changed(document, path, value), patients) == [code]


def test_the_best_baseline_counts_not_the_weakest(document, patients):
    weak = changed(document, ("baselines", "age", "auc", "value"), 0.75)
    text = find_caveats(evaluation_with(weak), patients)[0].text
    assert "best baseline of these, age," in text


def test_a_synthetic_cohort_may_be_easy_and_has_no_sites(document, patients):
    easy = changed(changed(document, ("synthetic",), True), ("patient", "auc", "value"), 0.95)
    assert codes(easy, patients.drop(columns="site")) == ["synthetic_cohort"]


def test_sites(document, patients):
    assert codes(document, patients.assign(site="one")) == ["single_site"]
    assert codes(document, patients.assign(site="")) == ["site_unknown"]
    assert codes(document, patients.assign(site=np.nan)) == ["site_unknown"]
    assert codes(document, patients.drop(columns="site")) == ["site_unknown"]


def test_a_difference_in_age_is_told_with_its_direction(document, patients):
    older = patients.assign(age=patients["age"] + 3 * (patients["label"] == "AD"))
    found = find_caveats(evaluation_with(document), older)
    assert [caveat.code for caveat in found] == ["age_difference"]
    assert "older" in found[0].text
    younger = patients.assign(age=patients["age"] - 4 * (patients["label"] == "AD"))
    assert "younger" in find_caveats(evaluation_with(document), younger)[0].text


def test_directions_of_miscalibration_are_named(document, patients):
    extreme = changed(document, ("patient", "calibration_slope"), entry(0.5, 0.3, 0.7))
    assert "too extreme" in find_caveats(evaluation_with(extreme), patients)[0].text
    low = changed(document, ("patient", "calibration_intercept"), entry(0.5, 0.3, 0.7))
    assert "too low" in find_caveats(evaluation_with(low), patients)[0].text


def test_standardised_mean_difference_by_hand():
    # Means 3 and 1; variances 1 and 4, pooled 2.5.
    found = standardised_mean_difference([2, 3, 4, np.nan], [-1, 1, 3])
    assert found == pytest.approx(2 / np.sqrt(2.5))
    assert standardised_mean_difference([1, 1], [1, 1]) is None
    assert standardised_mean_difference([1], [1, 2]) is None


def test_undefined_figures_raise_no_caveat_of_their_own(document, patients):
    none = entry(None, None, None)
    blank = changed(document, ("patient", "calibration_slope"), none)
    blank["baselines"]["age"] = {"auc": none, "auc_difference": none}
    assert codes(blank, patients) == []


def test_a_reading_of_the_image_is_no_baseline_without_images(document, patients):
    better = changed(document, ("baselines", "voxels", "auc_difference"), entry(-0.1, -0.2, -0.01))
    better = changed(better, ("baselines", "voxels", "auc"), entry(0.97, 0.9, 0.99))
    found = find_caveats(evaluation_with(better), patients)
    assert [caveat.code for caveat in found] == ["image_baseline_not_beaten"]
    assert "voxels (AUC 0.97; model minus it −0.100, interval −0.200 to −0.010)" in found[0].text
    alone = changed(document, ("baselines",), {"voxels": document["baselines"]["voxels"]})
    assert codes(alone, patients) == ["no_baseline"]


def test_an_age_matched_auc_that_is_undefined_raises_no_caveat(document, patients):
    none = entry(None, None, None)
    blank = changed(document, ("age_matched", "matched", "auc"), none)
    assert codes(blank, patients) == []


@pytest.mark.parametrize(
    ("path", "value", "added"),
    [
        (("patient", "auc"), entry(0.6, 0.51, 0.71), []),
        (("patient", "auc"), entry(0.6, 0.50, 0.69), ["guessing_not_excluded"]),
        (("patient", "auc"), entry(0.8, 0.69, 0.90), ["wide_interval"]),
        (("n_positive",), 29, ["few_of_a_label", "small_sample"]),
        (("n_positive",), 371, ["few_of_a_label", "small_sample"]),
        (("n_positive",), 30, ["small_sample"]),
        (("n_folds",), 5, ["internal_testing_only"]),
        (("n_folds",), 1, []),
    ],
)
def test_precision_and_internal_testing_are_told_from_their_limits_on(
    document, patients, path, value, added
):
    assert codes(changed(document, path, value), patients) == added


def test_a_handful_of_a_label_is_told_with_what_each_patient_weighs(document, patients):
    found = find_caveats(evaluation_with(changed(document, ("n_positive",), 8)), patients)
    assert found[0].text.startswith("Only 8 patients are labelled AD: each of them changes")
    assert "12.5 percentage points" in found[0].text


def test_one_scanner_is_told_and_two_or_none_are_not(document, patients):
    assert codes(document, patients.assign(scanner="Vision")) == ["single_scanner"]
    assert codes(document, patients.assign(scanner=["Vision", "Trio"] * 10)) == []
    assert codes(document, patients.assign(scanner="")) == []
