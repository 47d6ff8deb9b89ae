"""Slices join into patients as their names say, and nobody is scored twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from mri_transfer.errors import PredictionError
from mri_transfer.models.aggregation import join_slices
from mri_transfer.models.heads import SliceOutput, resolve_aggregation
from mri_transfer.models.heads.entry import Aggregation
from mri_transfer.training.predictions import ClassScores, InnerScores, PatientScores
from mri_transfer.training.settings import PredictionSpec, parse_target

LOGIT = np.log(3.0)  # probability 0.75


def _output(rows: list[list[float]], weights: list[list[float]] | None = None) -> SliceOutput:
    logits = np.array(rows, dtype=np.float32)
    even = np.full(logits.shape, 1 / logits.shape[1])
    return SliceOutput(
        logits=logits, weights=np.array(weights if weights else even, dtype=np.float32)
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean_probability", (0.75 + 0.75 + 0.25 + 0.5) / 4),
        ("mean_logit", 1 / (1 + np.exp(-LOGIT / 4))),
        ("majority", 0.5),
        ("attention", 0.25),
    ],
)
def test_each_way_to_join_slices_gives_its_hand_value(method: Aggregation, expected: float) -> None:
    output = _output([[LOGIT, LOGIT, -LOGIT, 0.0]], [[0, 0, 1, 0]])
    assert join_slices(output, ["p"], method)["p"] == pytest.approx(expected, abs=1e-6)


def test_scans_of_a_patient_count_the_same() -> None:
    output = _output([[LOGIT, LOGIT], [-LOGIT, -LOGIT], [LOGIT, LOGIT]])
    joined = join_slices(output, ["b", "b", "a"], "mean_probability")
    assert list(joined) == ["b", "a"]
    assert joined["b"] == pytest.approx(0.5)
    assert joined["a"] == pytest.approx(0.75, abs=1e-6)


def test_every_head_has_an_aggregation_of_its_own() -> None:
    kinds = {"linear": "mean_logit", "mlp": "mean_probability", "attention": "attention"}
    for kind, method in kinds.items():
        assert resolve_aggregation("auto", kind) == method
    assert resolve_aggregation("majority", "linear") == "majority"


def _table(**changes: object) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "repeat": [0, 0, 1],
            "fold": [0, 1, 0],
            "patient_id": ["001", "002", "001"],
            "label": ["AD", "CN", "AD"],
            "score": [0.1, 0.7, 1 / 3],
            "predicted": ["CN", "AD", "CN"],
            "n_slices": [32, 32, 32],
        }
    )
    return table.assign(**changes)


def test_scores_read_back_to_the_last_bit(tmp_path: Path) -> None:
    PatientScores(table=_table()).write(tmp_path / "patients.csv")
    again = PatientScores.read(tmp_path / "patients.csv").table
    pd.testing.assert_frame_equal(again, _table(), check_exact=True, check_dtype=False)


def test_a_patient_predicted_twice_in_a_repeat_is_refused() -> None:
    with pytest.raises(PredictionError, match=r"twice in one repeat.*patient_id 001"):
        PatientScores(table=_table(patient_id=["001", "001", "001"]))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_scores_outside_zero_to_one_are_refused(bad: float) -> None:
    with pytest.raises(PredictionError, match="between 0 and 1"):
        PatientScores(table=_table(score=[0.1, bad, 0.2]))


def test_a_table_with_other_columns_is_refused() -> None:
    with pytest.raises(PredictionError, match="not a table of scores"):
        PatientScores(table=_table().drop(columns="label"))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("sensitivity 0.9", ("sensitivity", 0.9)),
        ("specificity 0.95", ("specificity", 0.95)),
        ("sensitivity 0.5", ("sensitivity", 0.5)),
    ],
)
def test_an_operating_point_is_a_rate_and_its_value(name: str, target: tuple[str, float]) -> None:
    assert parse_target(name) == target
    assert PredictionSpec(targets=(name,)).targets == (name,)


@pytest.mark.parametrize(
    "name", ["sensitivity", "sensitivity 1", "sensitivity 0.0", "recall 0.9", "specificity 90%", ""]
)
def test_what_is_no_operating_point_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"a target reads 'sensitivity 0\.9'") as caught:
        parse_target(name)
    assert repr(name) in str(caught.value)
    with pytest.raises(ValidationError, match="a target reads"):
        PredictionSpec(targets=("sensitivity 0.9", name))


@pytest.mark.parametrize("threshold", [-0.1, 1.5, 50.0, float("nan"), "outer"])
def test_a_threshold_that_is_no_score_is_refused(threshold: object) -> None:
    with pytest.raises(ValidationError):
        PredictionSpec(threshold=threshold)


def test_inner_scores_are_needed_where_anything_is_fitted_on_them() -> None:
    assert PredictionSpec().needs_inner_scores
    assert PredictionSpec(threshold="inner", recalibration=("none",)).needs_inner_scores
    assert PredictionSpec(threshold=0.5, recalibration=("platt",)).needs_inner_scores
    assert not PredictionSpec(threshold=0.5, recalibration=("none",)).needs_inner_scores


def _inner(**changes: object) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "repeat": [0, 0, 0],
            "fold": [0, 0, 1],
            "inner_fold": [0, 1, 0],
            "patient_id": ["001", "NA", "001"],
            "score": [0.2, 1 / 3, 0.4],
        }
    )
    return table.assign(**changes)


def test_inner_scores_read_back_and_a_patient_may_train_for_several_folds(tmp_path: Path) -> None:
    InnerScores(table=_inner()).write(tmp_path / "inner.csv")
    again = InnerScores.read(tmp_path / "inner.csv").table
    pd.testing.assert_frame_equal(again, _inner(), check_exact=True, check_dtype=False)
    with pytest.raises(PredictionError, match="patient predicted twice"):
        InnerScores(table=_inner(fold=[0, 0, 0], patient_id=["001", "002", "001"]))


def test_no_inner_scores_read_back_as_none(tmp_path: Path) -> None:
    InnerScores(table=_inner().iloc[:0]).write(tmp_path / "inner.csv")
    assert InnerScores.read(tmp_path / "inner.csv").table.empty


def _against_rest(scores: dict[str, list[float]]) -> dict[str, PatientScores]:
    return {
        name: PatientScores(table=_table(score=values, predicted="x"))
        for name, values in scores.items()
    }


CLASSES = {"AD": [0.6, 0.0, 0.2], "CN": [0.3, 0.0, 0.8], "MCI": [0.6, 0.0, 0.0]}


def test_classes_against_the_rest_are_brought_to_a_sum_of_one() -> None:
    joined = ClassScores.join(_against_rest(CLASSES), labels={"001": "MCI", "002": "CN"})
    rows = joined.table.set_index(["repeat", "patient_id", "class"])
    assert rows.loc[(0, "001", "AD"), "score"] == pytest.approx(0.6 / 1.5)
    assert rows.loc[(0, "001", "CN"), "score"] == pytest.approx(0.3 / 1.5)
    assert rows.loc[(1, "001", "CN"), "score"] == pytest.approx(0.8)
    # No class was likely at all: then each is as likely as the others.
    assert rows.loc[(0, "002")]["score"].tolist() == pytest.approx([1 / 3] * 3)
    sums = joined.table.groupby(["repeat", "patient_id"])["score"].sum()
    np.testing.assert_allclose(sums, 1)
    assert rows.loc[(1, "001")]["predicted"].unique().tolist() == ["CN"]
    assert rows.loc[(0, "001")]["label"].unique().tolist() == ["MCI"]


def test_class_scores_read_back_and_become_arrays(tmp_path: Path) -> None:
    scores = {name: values[:2] for name, values in CLASSES.items()}
    parts = {
        name: PatientScores(table=_table(predicted="x").iloc[:2].assign(score=values))
        for name, values in scores.items()
    }
    joined = ClassScores.join(parts, labels={"001": "MCI", "002": "CN"})
    joined.write(tmp_path / "classes.csv")
    again = ClassScores.read(tmp_path / "classes.csv")
    pd.testing.assert_frame_equal(again.table, joined.table, check_exact=True, check_dtype=False)
    labels, probabilities = again.probabilities(["MCI", "CN", "AD"])
    assert labels == ["MCI", "CN"]
    assert probabilities.shape == (1, 2, 3)
    np.testing.assert_allclose(probabilities[0, 0], [0.6 / 1.5, 0.3 / 1.5, 0.6 / 1.5])


def test_classes_of_other_patients_are_not_joined() -> None:
    parts = _against_rest(CLASSES)
    parts["CN"] = PatientScores(table=_table(patient_id=["001", "003", "001"]))
    with pytest.raises(PredictionError, match="the same patients and folds"):
        ClassScores.join(parts, labels={"001": "MCI", "002": "CN", "003": "CN"})
