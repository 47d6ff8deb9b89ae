"""Tidy tables: every figure once, every value as it was, nothing that R would stumble over."""

from __future__ import annotations

import csv
import io
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from mri_transfer.report.schemas import describe, describe_names
from mri_transfer.report.tidy import (
    MADE_COLUMNS,
    MADE_TABLES,
    TABLES,
    Origin,
    csv_text,
    tidy,
    tidy_tables,
)
from tests.documents import (
    ODD_NAME,
    audit_document,
    bare_audit_document,
    evaluation_document,
)

NUMBERS = ("value", "ci_low", "ci_high", "n")
R_RESERVED = {
    "if", "else", "repeat", "while", "function", "for", "next", "break", "in", "na", "null",
    "true", "false", "inf", "nan",
}  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """All tables; read only."""
    return tidy_tables(evaluation_document(), audit_document())


def _read(frame: pd.DataFrame) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(frame), newline="")))


def _estimates(node: Any) -> Iterator[dict[str, Any]]:
    """Find what has the five keys of an estimate, anywhere."""
    if isinstance(node, dict):
        if {"value", "ci_low", "ci_high", "n", "method"} <= node.keys():
            yield node
        for child in node.values():
            yield from _estimates(child)
    elif isinstance(node, list):
        for child in node:
            yield from _estimates(child)


def _number(text: str) -> float | None:
    return float(text) if text else None


def test_every_figure_of_both_documents_is_there_once(tables) -> None:
    wanted = Counter(
        (*(one[name] for name in NUMBERS), one["method"], one.get("reason", ""))
        for document in (evaluation_document(), audit_document())
        for one in _estimates(document)
    )
    rows = _read(tables["figures"])
    found = Counter(
        (*(_number(row[name]) for name in NUMBERS), row["method"], row["reason"]) for row in rows
    )
    assert sum(wanted.values()) > 400
    assert found == wanted
    names = [(row["document"], row["section"], row["item"], row["metric"]) for row in rows]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (("evaluation", "patient", "", "auc"), ("patient", "auc")),
        (("evaluation", "age matched", "matched", "auc"), ("age_matched", "matched", "auc")),
        (
            ("evaluation", "baselines", "age + sex", "auc_difference"),
            ("baselines", "age + sex", "auc_difference"),
        ),
        (
            ("evaluation", "decision curve", "threshold 0.15", "model"),
            ("decision_curve", "model", 2),
        ),
        (
            ("evaluation", "decision curve", "others; age; threshold 0.05", "difference"),
            ("decision_curve", "others", "age", "difference", 0),
        ),
        (
            ("evaluation", "operating points", "specificity 0.9", "npv"),
            ("operating_points", 1, "npv"),
        ),
        (
            ("evaluation", "predictive values", "prevalence 0.01", "ppv"),
            ("predictive_values", 0, "ppv"),
        ),
        (("evaluation", "subgroups", "sex, F", "auc"), ("subgroups", "rows", 0, "auc")),
        (
            ("evaluation", "classes", "one_vs_rest; MCI", "auc"),
            ("classes", "one_vs_rest", "MCI", "auc"),
        ),
        (
            ("audit", "leakage", "arms; slice_split_true_labels", "slice_auc"),
            ("leakage", "arms", "slice_split_true_labels", "slice_auc"),
        ),
        (
            ("audit", "leakage", "identity; by_gap; gap_mm 3", "top1"),
            ("leakage", "identity", "by_gap", 1, "top1"),
        ),
        (
            ("audit", "shortcuts", "covariates; sex; score; AD; F", "mean_score"),
            ("shortcuts", "covariates", 1, "score", "AD", "mean_score", "F"),
        ),
        (
            ("audit", "learning curve", "tables; random trunk; curve; n_train 8", "auc"),
            ("learning_curve", "tables", "random trunk", "curve", 0, "auc"),
        ),
    ],
)  # fmt: skip
def test_a_figure_is_found_by_its_names(tables, name, path) -> None:
    node: Any = {"evaluation": evaluation_document(), "audit": audit_document()}[name[0]]
    for key in path:
        node = node[key]
    rows = [
        row
        for row in _read(tables["figures"])
        if (row["document"], row["section"], row["item"], row["metric"]) == name
    ]
    assert [_number(row["value"]) for row in rows] == [node["value"]]


def test_a_figure_of_a_section_that_nobody_foresaw_is_there_too() -> None:
    added = {"value": 0.25, "ci_low": 0.125, "ci_high": 0.5, "n": 7, "method": "guess"}
    content = evaluation_document() | {"later_section": {"part": [{"name": "x", "rate": added}]}}
    rows = _read(tidy_tables(content, None)["figures"])
    new = [row for row in rows if row["section"] == "later section"]
    assert [(row["item"], row["metric"], row["value"]) for row in new] == [
        ("part; x", "rate", "0.25")
    ]


def test_every_table_there_may_be_is_there(tables) -> None:
    assert list(tables) == [name for name in TABLES if name in tables]
    assert set(TABLES) - set(tables) == set()
    assert {"figures", "roc", "choices", "robustness", "learning_curve"} <= set(TABLES)


def test_without_an_audit_and_without_its_options_tables_are_left_out() -> None:
    alone = tidy_tables(evaluation_document(), None)
    assert set(alone["figures"]["document"]) == {"evaluation"}
    assert not {"stress_test", "checks", "retest"} & set(alone)
    bare = tidy_tables({**evaluation_document(), "classes": None}, bare_audit_document())
    assert {"stress_test", "checks", "retest"} <= set(bare)
    options = {"shortcuts", "robustness", "learning_curve", "extrapolation", "transfer", "classes"}
    assert not options & set(bare)
    assert all(len(frame) for frame in bare.values())


def test_columns_hold_plain_values_of_one_type(tables) -> None:
    for name, frame in tables.items():
        kinds = {str(kind) for kind in frame.dtypes}
        assert kinds <= {"boolean", "Int64", "float64", "str"}, name
        for column in frame:
            for cell in frame[column].dropna():
                assert not isinstance(cell, (dict, list, tuple, set)), (name, column)
                assert not re.match(r"[\[{]", str(cell)), (name, column, cell)


def test_names_of_columns_are_safe_in_r(tables) -> None:
    for frame in tables.values():
        names = list(frame.columns)
        assert len(set(names)) == len(names)
        for name in names:
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
            assert name not in R_RESERVED
    assert "covariates_field_strength_t" in tables["failures"]
    assert "cv_repeat" in tables["per_fold"]


def test_names_with_commas_quotes_and_umlauts_come_back(tables) -> None:
    content = evaluation_document()
    wanted = [row["patient_id"] for row in content["failures"]]
    assert ODD_NAME in wanted
    assert [row["patient_id"] for row in _read(tables["failures"])] == wanted
    assert _read(tables["duplicates"])[0]["patient_a"] == ODD_NAME
    assert "histogram, coarse" in {row["baseline"] for row in _read(tables["baselines"])}
    again = pd.read_csv(io.StringIO(csv_text(tables["failures"])))
    assert again["patient_id"].tolist() == wanted


def test_truth_values_and_missing_ones_are_written_for_r(tables) -> None:
    rows = _read(tables["checks"])
    assert {row["passed"] for row in rows} == {"TRUE", "FALSE"}
    missing = [row for row in _read(tables["per_fold"]) if row["cv_repeat"] == "0"]
    assert missing[0]["ppv"] == ""
    assert missing[0]["reasons_ppv"] == "no patient was called positive"
    for frame in tables.values():
        assert not re.search(r"(^|,)(nan|NaN|None|<NA>|True|False)(,|$)", csv_text(frame), re.M)


def test_the_order_of_keys_does_not_matter(tables) -> None:
    def shuffled(node: Any) -> Any:
        if isinstance(node, dict):
            keys = list(node)
            random.Random(len(keys)).shuffle(keys)
            return {key: shuffled(node[key]) for key in keys}
        return [shuffled(one) for one in node] if isinstance(node, list) else node

    again = tidy_tables(shuffled(evaluation_document()), shuffled(audit_document()))
    assert {name: csv_text(frame) for name, frame in again.items()} == {
        name: csv_text(frame) for name, frame in tables.items()
    }


def test_curves_are_those_of_the_document(tables) -> None:
    content = evaluation_document()
    assert tables["roc"]["fpr"].tolist() == content["roc"]["fpr"]
    assert tables["roc"]["tpr"].tolist() == content["roc"]["tpr"]
    for name in ("predicted", "observed", "n", "ci_low", "ci_high"):
        assert tables["calibration_bins"][name].tolist() == content["calibration"][name]
    smooth = content["calibration"]["smooth"]
    assert tables["calibration_smooth"]["ci_high"].tolist() == smooth["ci_high"]
    curve = tables["decision_curve"].set_index(["strategy", "quantity"]).sort_index()
    given = content["decision_curve"]
    assert curve.loc[("treat_all", "net_benefit"), "value"].tolist() == given["treat_all"]
    gain = curve.loc[("model", "gain")]
    assert gain["value"].tolist() == [one["value"] for one in given["gain"]]
    assert gain["threshold"].tolist() == given["thresholds"]
    other = curve.loc[("baseline", "difference")].query("baseline == 'age'")
    assert other["value"].tolist() == [one["value"] for one in given["others"]["age"]["difference"]]
    assert len(curve) == len(given["thresholds"]) * (4 + 2 * len(given["others"]))


def test_a_band_that_does_not_exist_is_an_empty_column_or_none() -> None:
    content = evaluation_document()
    content["calibration"]["smooth"] |= {"ci_low": None, "ci_high": None, "reason": "flat"}
    frame = tidy_tables(content, None)["calibration_smooth"]
    assert len(frame) == len(content["calibration"]["smooth"]["observed"])
    assert "ci_low" not in frame or frame["ci_low"].isna().all()


def test_choices_and_trials_have_a_row_a_fold_and_an_inner_fold(tables) -> None:
    content = evaluation_document()["choices"]
    choices = _read(tables["choices"])
    for row, given in zip(choices, content, strict=True):
        assert (int(row["cv_repeat"]), int(row["fold"])) == (given["repeat"], given["fold"])
        assert float(row["threshold"]) == given["threshold"]
        assert row["recalibration_method"] == given["recalibration"]["method"]
        assert row["procedure_head_inverse_l2"] == "1.0; 10.0"
        aim = given["target_thresholds"]["sensitivity 0.9"]
        assert float(row["target_thresholds_sensitivity_0_9"]) == aim
    trials = [
        (one["repeat"], one["fold"], i, inner, auc, trial["chosen"])
        for one in content
        for i, trial in enumerate(one["trials"])
        for inner, auc in enumerate(trial["inner_auc"])
    ]
    columns = ["cv_repeat", "fold", "trial", "inner_fold", "inner_auc", "chosen"]
    assert list(tables["trials"][columns].itertuples(index=False, name=None)) == trials


def test_counts_of_calls_have_a_column_or_a_row_each(tables) -> None:
    content = evaluation_document()
    (tn, fp), (fn, tp) = content["operating_points"][0]["confusion"]
    row = _read(tables["operating_points"])[0]
    assert [float(row[f"confusion_{name}"]) for name in ("tn", "fp", "fn", "tp")] == [
        tn,
        fp,
        fn,
        tp,
    ]
    counts = tables["confusion"].set_index(["reference", "predicted"])["n"]
    assert counts["CN", "AD"] == content["confusion"]["matrix"][0][1]
    classes = tables["classes_confusion"].set_index(["reference", "predicted"])["n"]
    assert classes["MCI", "AD"] == content["classes"]["confusion"][1][2]


def test_a_figure_without_an_answer_keeps_its_row() -> None:
    content = evaluation_document()
    n_aims = len(content["precision"]["auc"]["patients"])
    content["precision"]["auc"] |= {"patients": [], "reason": "complete separation"}
    frame = tidy_tables(content, None)["precision"]
    alone = frame[frame["figure"] == "auc"]
    assert n_aims > 1
    assert alone["reason"].tolist() == ["complete separation"]
    assert alone["value"].tolist() == [content["precision"]["auc"]["value"]]
    assert alone["wanted_n"].isna().all()


def test_the_stress_test_tells_all_patients_from_those_with_several_scans(tables) -> None:
    content = audit_document()["leakage"]
    frame = tables["stress_test"].set_index(["patients", "arm"])["slice_auc"]
    for patients, arms in (
        ("all", content["arms"]),
        ("several scans", content["several_scans"]["arms"]),
    ):
        for arm, figures in arms.items():
            assert frame[patients, arm] == figures["slice_auc"]["value"]
    inflation = tables["inflation"].set_index(["patients", "split", "labels", "metric"])["value"]
    given = content["inflation_by_split"]["slice_split"]["true_labels"]["slice_accuracy"]["value"]
    assert inflation["all", "slice_split", "true_labels", "slice_accuracy"] == given


def test_what_a_check_found_is_one_text(tables) -> None:
    content = next(one for one in audit_document()["checks"] if one["n_found"])
    row = next(one for one in _read(tables["checks"]) if one["check"] == content["check"])
    assert row["found"].startswith("repeat 0, fold 0, patient_id p")
    assert int(row["n_found"]) == content["n_found"]


def test_what_is_always_missing_stays_a_number() -> None:
    content = audit_document()
    for figure in content["retest"].values():
        if isinstance(figure, dict):
            figure |= {"value": None, "ci_low": None, "ci_high": None, "reason": "nobody"}
    frame = tidy_tables(evaluation_document(), content)["retest"]
    assert frame["icc"].dtype == "float64"
    assert frame["icc_reason"].tolist() == ["nobody"]


def test_every_column_is_known_to_a_schema_or_described_here() -> None:
    for name, table in tidy(evaluation_document(), audit_document()).items():
        assert name in MADE_TABLES or describe(table.document, table.place[:1])
        for column in table.frame:
            assert _meaning(str(column), table.origins.get(str(column))), (name, column)


def _meaning(column: str, origin: Origin | None) -> str:
    if origin is None:
        return MADE_COLUMNS[column]
    place = (*origin.place, *origin.keys)
    return describe(origin.document, place) or describe_names(origin.document, place)
