"""Slices join into patients as their names say, and nobody is scored twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import PredictionError
from mri_transfer.heads import SliceOutput
from mri_transfer.predictions import (
    Aggregation,
    PatientScores,
    PredictionSpec,
    join_slices,
    resolve_aggregation,
)

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
    kinds = {"linear": "mean_logit", "published": "mean_probability", "attention": "attention"}
    for kind, method in kinds.items():
        assert resolve_aggregation(PredictionSpec(), kind) == method
    assert resolve_aggregation(PredictionSpec(aggregation="majority"), "linear") == "majority"


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
