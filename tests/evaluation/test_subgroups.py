"""Figures of subgroups, the verdict on their size, and differences between them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.subgroup_levels import expected_half_width
from mri_transfer.evaluation.subgroups import subgroup_gaps, subgroup_rows
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.discrimination import auc
from mri_transfer.metrics.task import Task


def scored(n=200, *, effect=1.5, seed=0, **columns):
    """Scores of two repeats; `effect` may be one number or one a patient."""
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 2 == 1
    logit = np.asarray(effect) * (positive - 0.5) + rng.standard_normal(n)
    scores = 1 / (1 + np.exp(-logit - 0.2 * rng.standard_normal((2, n))))
    ids = tuple(f"p{i:03d}" for i in range(n))
    arrays = ScoreArrays(
        task=Task(positive="AD", negative="CN"),
        patient_ids=ids,
        repeats=(0, 1),
        positive=positive,
        scores=scores,
        predicted=scores >= 0.5,
        fold=np.zeros((2, n), dtype=np.int64),
    )
    label = np.where(positive, "AD", "CN")
    return arrays, pd.DataFrame({"label": label, **columns}, index=list(ids))


def halves(n=200):
    """Two sexes, each with as many patients of either label."""
    return np.where(np.arange(n) % 4 < 2, "F", "M")


def rows_of(arrays, patients, **settings):
    rng = np.random.default_rng(1)
    rows = subgroup_rows(arrays, patients, n_samples=300, rng=rng, **settings)
    return {(row.group, row.level): row for row in rows}


def gaps_of(arrays, patients, n_samples=300):
    rng = np.random.default_rng(1)
    found = subgroup_gaps(arrays, patients, n_samples=n_samples, rng=rng)
    return {(row.group, row.measure): row for row in found.rows}, found.note


def test_a_row_holds_the_figures_of_its_patients():
    arrays, patients = scored(sex=halves())
    row = rows_of(arrays, patients)["sex", "F"]
    inside = halves() == "F"
    assert (row.n, row.n_positive, row.n_negative) == (100, 50, 50)
    assert row.enough
    assert row.reason is None
    expected = delong_auc(arrays.positive[inside], arrays.scores[:, inside]).estimate
    assert row.auc == expected
    y, called = arrays.positive[inside], arrays.predicted[:, inside]
    assert row.sensitivity.value == pytest.approx(called[:, y].mean())
    assert row.specificity.value == pytest.approx(1 - called[:, ~y].mean())
    balanced = (called[:, y].mean() + 1 - called[:, ~y].mean()) / 2
    assert row.balanced_accuracy.value == pytest.approx(balanced)
    scores = arrays.scores[:, inside].mean(axis=0)
    assert row.calibration.value == pytest.approx(0.5 - scores.mean())
    assert row.calibration.ci_low < row.calibration.value < row.calibration.ci_high
    assert row.mean_score_positive.value == pytest.approx(scores[y].mean())


def test_the_interval_of_calibration_is_that_of_a_mean():
    # The label of a subgroup's patients is not fixed: closed form of the mean's standard error.
    arrays, patients = scored(400, sex=halves(400))
    row = rows_of(arrays, patients)["sex", "F"].calibration
    inside = halves(400) == "F"
    residual = arrays.positive[inside] - arrays.scores[:, inside].mean(axis=0)
    half = 1.96 * residual.std(ddof=1) / np.sqrt(inside.sum())
    assert (row.ci_high - row.ci_low) / 2 == pytest.approx(half, rel=0.15)


def test_age_bands_are_of_completed_years():
    ages = [59.9, 60.0, 69.9, 70.0, 79.0, 80.0, 95.0, np.nan]
    arrays, patients = scored(8, age=ages)
    rows = rows_of(arrays, patients)
    counts = {level: row.n for (group, level), row in rows.items() if group == "age band"}
    expected = {
        "under 60": 1, "60 to 69": 2, "70 to 79": 2, "80 and over": 2, "not recorded": 1,
    }  # fmt: skip
    assert counts == expected
    assert list(counts) == list(expected)
    own = rows_of(arrays, patients, age_bands=(65,))
    assert own["age band", "under 65"].n == 2
    assert own["age band", "65 and over"].n == 5


def test_the_expected_width_is_the_published_formula():
    # Hanley and McNeil 1982 for an AUC of .75, written out for 20 and 30 patients.
    first, second = 0.75 / 1.25, 2 * 0.75**2 / 1.75
    variance = (0.1875 + 19 * (first - 0.5625) + 29 * (second - 0.5625)) / 600
    assert expected_half_width(0.75, 20, 30) == pytest.approx(1.959964 * np.sqrt(variance))
    # 100 and 100 patients give .068, 70 and 70 .08, and certainty is never promised.
    assert expected_half_width(0.75, 100, 100) == pytest.approx(0.068, abs=0.002)
    assert expected_half_width(0.75, 70, 70) == pytest.approx(0.081, abs=0.002)
    assert expected_half_width(1.0, 12, 12) > 0.05


def test_the_expected_width_is_what_intervals_come_out_as():
    widths = []
    for seed in range(20):
        arrays, _ = scored(100, effect=1.0, seed=seed)
        found = delong_auc(arrays.positive, arrays.scores[0]).estimate
        widths.append((found.ci_high - found.ci_low) / 2)
    assert np.mean(widths) == pytest.approx(expected_half_width(0.76, 50, 50), rel=0.1)


def test_a_small_subgroup_is_given_no_statement():
    sex = np.array(["F"] * 185 + ["M"] * 15)
    arrays, patients = scored(sex=sex)
    row = rows_of(arrays, patients)["sex", "M"]
    assert not row.enough
    assert row.reason.startswith("8 positive and 7 negative patients: the interval")
    assert "no statement" in row.reason
    assert row.auc.value is not None
    assert row.expected_half_width > 0.15


def test_the_verdict_does_not_look_at_the_subgroups_own_figures():
    # The same patients, scored perfectly in the small group: no more is known of them.
    sex = np.array(["F"] * 182 + ["M"] * 18)
    plain = rows_of(*scored(sex=sex))["sex", "M"]
    effect = np.where(sex == "M", 50.0, 1.5)
    perfect = rows_of(*scored(effect=effect, sex=sex))["sex", "M"]
    assert perfect.auc.value == 1.0
    assert (plain.enough, perfect.enough) == (False, False)


def test_one_label_has_no_auc_but_its_rate():
    arrays, patients = scored(sex=halves())
    patients["site"] = np.where(arrays.positive & (halves() == "F"), "A", "B")
    row = rows_of(arrays, patients)["site", "A"]
    assert not row.enough
    assert row.reason == "50 positive and 0 negative patients: no statement"
    assert row.auc.reason == "patients of one label only"
    assert row.sensitivity.value is not None
    assert row.specificity.value is None


def test_severity_is_compared_with_all_patients_of_the_negative_label():
    arrays, patients = scored()
    cdr = np.where(arrays.positive, np.where(np.arange(200) < 120, 0.5, 1.0), 0.0)
    rows = rows_of(arrays, patients.assign(CDR=cdr))
    assert [level for group, level in rows if group == "cdr"] == ["0.5", "1"]
    row = rows["cdr", "1"]
    assert (row.n_positive, row.n_negative) == (40, 100)
    inside = (cdr == 1.0) | ~arrays.positive
    assert row.auc.value == pytest.approx(auc(arrays.positive[inside], arrays.scores[:, inside]))
    assert row.sensitivity.n == 40
    assert "reference standard" in row.comment
    for name in ("specificity", "balanced_accuracy", "calibration"):
        assert getattr(row, name).value is None
        assert "every CDR" in getattr(row, name).reason


def test_education_is_split_at_the_median_and_says_so():
    arrays, patients = scored(8, educ=[8, 10, 12, 12, 14, 16, 18, None])
    rows = rows_of(arrays, patients)
    assert rows["education", "below the median"].n == 2
    assert rows["education", "median and above"].n == 5
    assert rows["education", "not recorded"].n == 1
    assert rows["education", "median and above"].comment.endswith("of the column educ, 12")


def test_a_scanner_is_named_by_its_make_where_it_has_no_name():
    made = np.where(np.arange(200) % 4 < 2, "GE", "Siemens")
    arrays, patients = scored(manufacturer=made, field_strength=1.5, scanner=pd.NA)
    assert {level for group, level in rows_of(arrays, patients) if group == "scanner"} == {
        "GE 1.5",
        "Siemens 1.5",
    }
    named = patients.assign(scanner=np.where(made == "GE", "one", "two"))
    assert ("scanner", "two") in rows_of(arrays, named)


def test_what_is_not_recorded_or_all_the_same_is_no_subgroup():
    arrays, patients = scored(site="one")
    rows = rows_of(arrays, patients)
    assert not rows["site", "one"].enough
    assert "nothing to compare" in rows["site", "one"].reason
    assert rows["sex", "not recorded"].n == 200
    assert "sex of these patients is not recorded" in rows["sex", "not recorded"].reason


def test_a_planted_difference_between_sexes_is_found():
    effect = np.where(halves() == "F", 4.0, 0.2)
    rows, note = gaps_of(*scored(effect=effect, sex=halves()))
    row = rows["sex", "auc"]
    assert (row.highest, row.lowest) == ("F", "M")
    assert row.difference.ci_low > 0.1
    assert row.p == pytest.approx(1 / 301)
    assert row.p_holm == pytest.approx(2 / 301)
    assert note.startswith("2 comparisons")


def test_without_a_difference_p_values_are_spread_evenly(monkeypatch):
    # Statsmodels collects garbage at every correction, which takes long in a large process.
    monkeypatch.setattr("gc.collect", lambda: 0)
    found = []
    for seed in range(16):
        site = np.array(["A", "B", "C"])[np.random.default_rng(seed).integers(3, size=180)]
        rows, _ = gaps_of(*scored(180, seed=seed, site=site), n_samples=60)
        found.append(rows["site", "auc"].p)
    # With three sites the best and worst always differ; the p value allows for the choice.
    assert np.mean(np.array(found) <= 0.1) < 0.35
    assert 0.3 < np.mean(found) < 0.7


def test_the_gap_is_the_difference_of_the_rows():
    arrays, patients = scored(sex=halves(), age=np.tile([65, 66, 75, 76, 85, 86, 65, 66], 25))
    levels = rows_of(arrays, patients)
    rows, _ = gaps_of(arrays, patients)
    for (group, measure), row in rows.items():
        if row.p is None:
            continue
        values = [
            getattr(one, measure).value
            for (name, _), one in levels.items()
            if name == group and one.enough
        ]
        assert row.n_levels == len(values)
        assert row.difference.value == pytest.approx(max(values) - min(values))
    assert rows["age band", "auc"].n_levels == 3


def test_levels_that_are_too_small_are_not_compared():
    sex = np.array(["F"] * 185 + ["M"] * 15)
    rows, note = gaps_of(*scored(sex=sex))
    row = rows["sex", "auc"]
    assert row.difference.value is None
    assert row.difference.reason.startswith("1 of its levels")
    assert (row.p, row.p_holm, row.highest) == (None, None, None)
    assert "no comparison" in note
    assert not any(group == "cdr" for group, _ in rows)


def test_the_same_seed_gives_the_same_rows():
    arrays, patients = scored(sex=halves())
    assert rows_of(arrays, patients) == rows_of(arrays, patients)
    assert gaps_of(arrays, patients) == gaps_of(arrays, patients)


def test_patients_in_another_order_are_refused():
    arrays, patients = scored(sex=halves())
    for function in (rows_of, gaps_of):
        with pytest.raises(EvaluationError, match="in their order"):
            function(arrays, patients.iloc[::-1])
