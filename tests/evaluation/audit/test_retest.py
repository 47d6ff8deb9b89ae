"""Two scans of one patient: how far their scores agree."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.audit.agreement import MeanSquares, icc_absolute
from mri_transfer.evaluation.audit.retest import retest, scan_scores
from mri_transfer.models.heads import apply_head
from tests.evaluation.audit.test_robustness import _trained
from tests.synthetic import feature_table, folds_of

SETTINGS = {"n_samples": 200, "seed": 0}
FIGURES = ("icc", "icc_one_way", "mean_difference", "lower_limit", "upper_limit", "flip_rate",
           "mean_absolute_difference")  # fmt: skip


def _table(scores: dict[str, list[float]], repeat: int = 0) -> pd.DataFrame:
    rows = [
        (name, f"{name}_ses{i}", repeat, value, "AD" if value >= 0.5 else "CN")
        for name, values in scores.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["patient_id", "scan_id", "repeat", "score", "predicted"])


SCORES = {"a": [0.2, 0.3], "b": [0.45, 0.55], "c": [0.9, 0.74], "d": [0.1, 0.1], "single": [0.99]}


def test_figures_by_hand() -> None:
    found = retest(_table(SCORES), **SETTINGS)
    assert (found.n_patients, found.n_more) == (4, 0)
    assert found.mean_difference.value == pytest.approx((0.1 + 0.1 - 0.16 + 0.0) / 4)
    assert found.mean_absolute_difference.value == pytest.approx(0.09)
    assert found.flip_rate.value == 0.25
    pairs = [SCORES[name] for name in "abcd"]
    assert found.icc.value == pytest.approx(icc_absolute(MeanSquares.of(pairs)).value)
    for name in FIGURES:
        figure = getattr(found, name)
        assert figure.n == 4
        assert figure.ci_low <= figure.value <= figure.ci_high


def test_the_order_of_rows_is_without_effect() -> None:
    table = _table(SCORES)
    shuffled = table.sample(frac=1, random_state=3)
    assert retest(shuffled, **SETTINGS) == retest(table, **SETTINGS)


def test_repeats_are_averaged_and_never_narrow_an_interval() -> None:
    first, again = _table(SCORES), _table(SCORES, repeat=1)
    alone, twice = retest(first, **SETTINGS), retest(pd.concat([first, again]), **SETTINGS)
    for name in FIGURES:
        one, two = (dataclasses.asdict(getattr(found, name)) for found in (alone, twice))
        for part in ("value", "ci_low", "ci_high", "n"):
            assert two[part] == pytest.approx(one[part]), name
    # A mean of repeats has no exact interval, and is not said to have one.
    assert "exact" in alone.flip_rate.method
    assert "exact" not in twice.flip_rate.method
    turned = {name: values[::-1] for name, values in SCORES.items()}
    both = retest(pd.concat([first, _table(turned, repeat=1)]), **SETTINGS)
    assert both.mean_difference.value == pytest.approx(0.0)
    assert both.mean_absolute_difference.value == pytest.approx(0.09)


def test_of_more_scans_the_first_two_count() -> None:
    more = {**SCORES, "a": [0.2, 0.3, 0.99]}
    found = retest(_table(more), **SETTINGS)
    assert found.n_more == 1
    assert found.model_copy(update={"n_more": 0}) == retest(_table(SCORES), **SETTINGS)


@pytest.mark.parametrize(
    ("names", "words"), [((), "no patient with"), (("a",), "1 patient with"), (("a", "b"), "2 pat")]
)
def test_too_few_patients_with_two_scans_leave_a_reason(names: tuple[str, ...], words: str) -> None:
    table = _table({"single": [0.4], **{name: SCORES[name] for name in names}})
    found = retest(table, **SETTINGS)
    assert found.n_patients == len(names)
    for name in FIGURES:
        assert getattr(found, name).value is None
        assert getattr(found, name).reason.startswith(words)


def test_an_empty_table_leaves_a_reason() -> None:
    found = retest(_table({}), **SETTINGS)
    assert found.n_patients == 0
    assert found.icc.value is None


def test_a_scan_that_lacks_a_repeat_or_has_it_twice_is_refused() -> None:
    first, second = _table(SCORES), _table(SCORES, repeat=1)
    for table in (pd.concat([first, second.iloc[1:]]), pd.concat([first, first.iloc[:1]])):
        with pytest.raises(EvaluationError, match="one score in each repeat"):
            retest(table, **SETTINGS)
    with pytest.raises(EvaluationError, match="no column score"):
        retest(first.drop(columns="score"), **SETTINGS)


def test_every_scan_is_scored_alone_by_the_head_that_held_its_patient_out() -> None:
    table, labels = feature_table(two_sessions=6)
    folds = folds_of(table, labels, n_repeats=2)
    trained = _trained(table, folds)
    found = scan_scores(trained, {"max": table}, folds, positive_label="AD", negative_label="CN")
    assert len(found) == 2 * 46
    assert not found.duplicated(["repeat", "scan_id"]).any()
    for row in found.itertuples():
        fold = folds.assignment[row.repeat, folds.patient_ids.index(row.patient_id)]
        (one,) = (t for t in trained if (t.repeat, t.fold) == (row.repeat, fold))
        scan = table.scan_ids.index(row.scan_id)
        assert table.patient_ids[scan] == row.patient_id
        mean = np.mean(apply_head(one.head, table.features[[scan]]).logits, dtype=np.float64)
        assert row.score == pytest.approx(expit(0.5 * mean - 0.4))
        assert row.predicted == ("AD" if row.score >= one.threshold else "CN")
    assert retest(found, **SETTINGS).n_patients == 6
    # Sessions of one patient share what is the patient's own.
    assert retest(found, **SETTINGS).icc.value > 0.8
