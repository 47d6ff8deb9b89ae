"""Sections on patients, scans and runs: counts that add up, hand values, nothing made up."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mri_transfer.evaluation.balance import standardised_level_difference
from mri_transfer.report.blocks.document import (
    Block,
    Bullets,
    Facts,
    Figure,
    Folded,
    Row,
    Section,
    Side,
    Table,
    Text,
)
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.sections.baseline import baseline_section
from mri_transfer.report.sections.data import data_section
from mri_transfer.report.sections.flow import exclusions_by_kind, flow_section
from mri_transfer.report.sections.preparation import preparation_section
from mri_transfer.report.sections.reproducibility import reproducibility_section
from mri_transfer.report.sections.training import training_section
from mri_transfer.report.tables.cohort import cohort_table, fold_tables, label_names, missing_table
from tests.report.documents import make_inputs, make_provenance, replaced

SECTIONS = (
    flow_section, baseline_section, data_section, preparation_section, training_section,
    reproducibility_section,
)  # fmt: skip
HOSTILE = "<script>alert(1)</script>"


def walk(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Folded | Side):
            yield from walk(block.blocks)


def tables(section: Section) -> dict[str, Table]:
    """Return the tables of a section by caption, those of its figures too."""
    found: dict[str, Table] = {}
    for block in walk(section.blocks):
        inside = block.numbers if isinstance(block, Figure) else (block,)
        found |= {table.caption: table for table in inside if isinstance(table, Table)}
    return found


def cells(table: Table) -> dict[str, tuple[str, ...]]:
    return {row.head: row.cells for row in table.rows}


def texts(section: Section, role: str) -> list[str]:
    return [b.text for b in walk(section.blocks) if isinstance(b, Text) and b.role == role]


def small_inputs(**changes: Any) -> ReportInputs:
    """Return six patients of two labels, scanned once, twice of them twice, in two folds."""
    ids = list("abcdef")
    patients = pd.DataFrame(
        {
            "label": ["CN", "CN", "CN", "AD", "AD", "AD"],
            "age": [60.0, 70.0, 80.0, 75.0, 85.0, np.nan],
            "sex": ["F", "M", "F", "F", "F", None],
            "cdr": [0.0, 0.0, 0.0, 0.5, 1.0, 0.5],
            "site": [None] * 6,
        },
        index=pd.Index(ids, name="patient_id"),
    )
    base = make_inputs()
    evaluation = dict(base.evaluation.plain()) | {"n_patients": 6, "n_positive": 3, "n_scans": 8}
    scores = pd.DataFrame(
        [(0, i % 2, p, patients["label"][p], 0.5, "CN", 32) for i, p in enumerate(ids)],
        columns=["repeat", "fold", "patient_id", "label", "score", "predicted", "n_slices"],
    )
    scans = [(f"{p}1", p) for p in ids] + [("a2", "a"), ("d2", "d")]
    return replaced(
        base,
        **{
            "evaluation": evaluation,
            "patients": patients,
            "patient_scores": scores,
            "scans": pd.DataFrame(scans, columns=["scan_id", "patient_id"]),
            "folds": scores[["repeat", "patient_id", "fold", "label"]],
            "excluded": excluded(),
            **changes,
        },
    )


def excluded(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["scan_id", "patient_id", "stage", "reason"])


LEFT_OUT = excluded(
    ("x1", "x", "check", "scan x1 (/data/x (old)/x1.nii): not a NIfTI file (found a). Export it."),
    ("y1", "y", "check", "scan y1 (/data/y1.nii): not a NIfTI file (found b). Export it."),
    ("x2", "x", "check", "x2: no label: not used for training, and never read as healthy"),
    ("b2", "b", "prepare", "quality: overlap with the template: 0.61 (at least 0.9). Look at it."),
    (HOSTILE, "../../x", "prepare", "took longer than 900 s"),
)


def quality(*rows: dict[str, Any]) -> pd.DataFrame:
    plain = {
        "verdict": "pass", "kept": False, "passed_through": True, "turn": "", "reasons": "",
        "snr": "10.0", "snr_verdict": "pass", "dice": "", "dice_verdict": "none",
        "spacing_mm": "1.0",
    }  # fmt: skip
    return pd.DataFrame([{**plain, **row} for row in rows])


# --- flow --------------------------------------------------------------------------------------


def test_flow_loses_no_scan_and_no_patient() -> None:
    section = flow_section(small_inputs(excluded=LEFT_OUT))
    rows = tables(section)["The flow in numbers"].rows
    assert [(row.head, row.cells[0]) for row in rows] == [
        ("Offered in the manifest", "13 scans of 9 patients"),
        ("Left out at check", "3 scans of 2 patients"),
        ("Left after check", "readable, with a label of the task; 10 scans of 7 patients"),
        ("Left out at prepare", "2 scans of 2 patients"),
        ("Left after prepare", "prepared, and of sufficient quality; 8 scans of 6 patients"),
        ("Evaluated", "8 scans of 6 patients; 1280 slices"),
    ]
    (said,) = texts(section, "finding")
    assert said == (
        "13 scans of 9 patients were offered, 6 patients evaluated. 5 scans were left out; "
        "3 patients had no scan left."
    )


def test_flow_counts_labels_and_folds() -> None:
    found = tables(flow_section(small_inputs()))
    assert cells(found["Evaluated, by label"]) == {"CN": ("3", "4"), "AD": ("3", "4")}
    assert cells(found["Folds"]) == {"0, 0": ("3", "2", "1"), "0, 1": ("3", "1", "2")}
    assert found["Folds"].columns == ("Repeat, fold", "Patients held out", "CN", "AD")


def test_equal_reasons_are_counted_together_whatever_scan_and_file() -> None:
    judged = quality(
        {"scan_id": "b2", "patient_id": "b", "dice_verdict": "fail", "snr_verdict": "warn"}
    )
    inputs = small_inputs(excluded=LEFT_OUT, quality=judged)
    kinds = exclusions_by_kind(inputs)["reason"].tolist()
    assert kinds[0].startswith("not a NIfTI file")
    assert kinds[3] == "quality: overlap with the template"
    (svg,) = [b.svg for b in flow_section(inputs).blocks if isinstance(b, Figure)]
    words = re.sub(r"<[^>]*>|\s", "", svg)
    assert "2:notaNIfTIfile" in words
    assert "1:quality:overlapwiththetemplate" in words
    assert "/data" not in words


def test_patients_that_are_used_but_not_scored_are_shown_as_not_evaluated() -> None:
    inputs = small_inputs()
    scores = inputs.patient_scores[inputs.patient_scores["patient_id"] != "f"]
    rows = cells(
        tables(flow_section(replaced(inputs, patient_scores=scores)))["The flow in numbers"]
    )
    assert rows["Not evaluated"] == ("1 scan of 1 patient",)
    assert rows["Evaluated"][0].startswith("7 scans of 5 patients")


def test_a_whole_cohort_without_exclusions_folds_or_scans_is_said_in_words() -> None:
    section = flow_section(small_inputs(folds=None, scans=None))
    assert "No scan was left out." in texts(section, "missing")
    assert "Folds" not in tables(section)


def test_every_scan_left_out_is_listed() -> None:
    listed = tables(flow_section(small_inputs(excluded=LEFT_OUT)))["Every scan left out"]
    assert [row.head for row in listed.rows] == LEFT_OUT["scan_id"].tolist()


# --- baseline ----------------------------------------------------------------------------------


def test_baseline_has_hand_values() -> None:
    table = cohort_table(small_inputs())
    assert table.columns == (
        "Characteristic", "All evaluated", "CN", "AD", "Standardised difference",
    )  # fmt: skip
    rows = cells(table)
    assert rows["Patients"] == ("6", "3", "3", "")
    # CN 60, 70, 80: mean 70, SD 10; AD 75, 85: mean 80, SD 7.07; 10 / sqrt((100 + 50) / 2).
    assert rows["Age, years: mean (SD)"] == ("74.0 (9.6)", "70.0 (10.0)", "80.0 (7.1)", "1.15")
    assert rows["Age, years: median [quartiles]"][1] == "70.0 [65.0 to 75.0]"
    assert rows["Age, years: missing"] == ("1", "0", "1", "")
    assert rows["Sex: F"][:3] == ("4 (80\u00a0%)", "2 (67\u00a0%)", "2 (100\u00a0%)")
    assert rows["Site"] == ("not given", "not given", "not given", "not defined")


def test_missing_values_are_counted_by_column_and_label() -> None:
    rows = cells(missing_table(small_inputs()))
    assert rows["Age, years"] == ("1 (17\u00a0%)", "0 (0\u00a0%)", "1 (33\u00a0%)")
    assert rows["Site"] == ("6 (100\u00a0%)", "3 (100\u00a0%)", "3 (100\u00a0%)")
    assert rows["CDR"] == ("0 (0\u00a0%)", "0 (0\u00a0%)", "0 (0\u00a0%)")


def test_folds_have_a_column_each_and_every_patient_once() -> None:
    (table,) = fold_tables(small_inputs())
    assert table.columns == ("Characteristic", "Fold 0", "Fold 1")
    assert cells(table)["Patients"] == ("3", "3")
    assert cells(table)["Label: AD"] == ("1 (33\u00a0%)", "2 (67\u00a0%)")


def test_three_classes_have_a_column_each_and_the_difference_names_the_two() -> None:
    inputs = small_inputs()
    patients = inputs.patients.assign(label=["CN", "CN", "MCI", "MCI", "AD", "AD"])
    inputs = replaced(
        inputs,
        patients=patients,
        config={**inputs.settings.every, "labels": {"classes": ["CN", "MCI", "AD"]}},
        evaluation={**inputs.evaluation.plain(), "negative_label": "not AD"},
    )
    assert label_names(inputs) == ("CN", "MCI", "AD")
    table = cohort_table(inputs)
    assert table.columns[1:5] == ("All evaluated", "CN", "MCI", "AD")
    # MCI 75 and 80, CN 60 and 70: 12.5 / sqrt((12.5 + 50) / 2); of AD one age is known.
    assert cells(table)["Age, years: mean (SD)"][-1] == "2.24\nMCI and CN"


def test_standardised_differences_are_those_of_tableone() -> None:
    """An independent library's, of numbers and of levels, where nothing is missing."""
    from tableone import TableOne

    rng = np.random.default_rng(8)
    patients = pd.DataFrame(
        {
            "label": np.repeat(["CN", "AD"], 20),
            "age": rng.normal(70, 8, 40),
            "sex": rng.choice(["F", "M"], 40),
            "site": rng.choice(["one", "two", "three"], 40),
        },
        index=pd.Index([f"OAS{i:04d}" for i in range(40)], name="patient_id"),
    )
    base = make_inputs()
    rows = cells(cohort_table(replaced(base, patients=patients)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own use of pandas
        made = TableOne(
            patients.astype({"label": object, "sex": object, "site": object}),
            columns=["age", "sex", "site"],
            categorical=["sex", "site"],
            groupby="label",
            smd=True,
            pval=False,
        )
    theirs = made.tableone.xs("SMD (AD,CN)", axis=1, level=1).iloc[:, 0]
    theirs = [abs(float(text)) for text in theirs if text not in ("", None)]
    heads = ("Age, years: mean (SD)", "Sex: F", "Site: one")
    ours = [abs(float(rows[head][-1].replace("\u2212", "-"))) for head in heads]
    assert ours == pytest.approx(theirs, abs=0.0051)


@pytest.mark.parametrize(("first", "second"), [(0.3, 0.6), (0.5, 0.5), (0.1, 1.0)])
def test_difference_of_two_levels_is_the_closed_form(first: float, second: float) -> None:
    groups = [["F"] * round(100 * p) + ["M"] * round(100 * (1 - p)) for p in (first, second)]
    variance = (first * (1 - first) + second * (1 - second)) / 2
    found = standardised_level_difference(*groups)
    assert found == pytest.approx(abs(first - second) / np.sqrt(variance), abs=1e-9)


def test_difference_of_levels_has_no_unit_where_nothing_varies() -> None:
    assert standardised_level_difference(["F"] * 5, ["M"] * 5) is None
    assert standardised_level_difference([], ["M"]) is None
    assert standardised_level_difference(["M"], ["M"]) == 0.0
    assert standardised_level_difference(list("aab"), list("cc")) is None


# --- data --------------------------------------------------------------------------------------


def test_sources_are_what_is_known_and_no_more() -> None:
    judged = quality(*({"scan_id": s, "patient_id": s[0], "spacing_mm": v} for s, v in
                       (("a1", "1.0"), ("b1", "1.25"), ("c1", ""))))  # fmt: skip
    found = tables(data_section(small_inputs(quality=judged)))
    rows = cells(found["Sources, as the manifest and the scans give them"])
    assert rows["Scans per patient"] == ("1 scan: 4 patients; 2 scans: 2 patients",)
    assert rows["Sites"] == ("not given in the manifest",)
    assert rows["Longest edge of a voxel, mm"][0].endswith("from 1.00 to 1.25; 1 not known")
    counts = cells(found["Values of the label and what they count as"])
    assert counts == {"CN": ("negative", "3", "50\u00a0%"), "AD": ("positive", "3", "50\u00a0%")}


def test_a_column_that_tells_the_label_is_named() -> None:
    inputs = make_inputs()
    rating = np.where(inputs.patients["label"] == "AD", 0.5, 0.0)
    rating[-1] = 1.0
    told = data_section(replaced(inputs, patients=inputs.patients.assign(cdr=rating)))
    assert cells(tables(told)["Patients by CDR and label"]) == {
        "0.0": ("20", "0"), "0.5": ("0", "19"), "1.0": ("0", "1"),
    }  # fmt: skip
    rating[0] = 0.5
    other = data_section(replaced(inputs, patients=inputs.patients.assign(cdr=rating)))
    assert "No column of the manifest tells the label of every patient." in texts(other, "missing")


# --- preparation -------------------------------------------------------------------------------


def test_quality_is_counted_by_label() -> None:
    judged = quality(
        {"scan_id": "a1", "patient_id": "a", "snr": "4.0", "verdict": "warn", "reasons": "one",
         "snr_verdict": "warn", "turn": "front where the header says back"},
        {"scan_id": "d1", "patient_id": "d", "snr": "8.0", "passed_through": False},
        {"scan_id": "z1", "patient_id": "z", "snr": "2.0", "verdict": "fail", "reasons": "two; b",
         "snr_verdict": "fail"},
    )  # fmt: skip
    section = preparation_section(small_inputs(quality=judged, audit=None))
    found = tables(section)
    verdicts = found["Verdicts by label, scans"]
    assert verdicts.columns == ("Verdict", "All judged", "CN", "AD", "label not known")
    one, none = "1 (100\u00a0%)", "0 (0\u00a0%)"
    assert cells(verdicts) == {
        "pass": ("1", none, one, none),
        "warn: used": ("1", one, none, none),
        "fail: left out": ("1", none, none, one),
    }
    scores = cells(found["Scores by label: median over scans"])
    assert scores["Signal-to-noise ratio"] == ("4", "4", "8", "2")
    assert scores["Overlap with the template"] == ("not defined",) * 4
    assert cells(found["What warned or failed, scans"]) == {"Signal-to-noise ratio": ("1", "1")}
    worst = found["Worst scans by verdict and number of reasons"]
    assert [row.head for row in worst.rows] == ["z1", "a1"]
    (turned,) = texts(section, "fault")
    assert "1 of 3 scans" in turned
    assert "1 of them came prepared" in turned


def test_steps_are_those_of_the_configuration() -> None:
    config = {
        "preparation": {"scans": "all", "bias_field": False, "registration": True,
                        "brain_extraction": "hd-bet", "crop": True, "interpolation": "linear"},
        "slices": {"n_slices": 20, "selection": "entropy", "intensity": "minmax",
                   "aspect": "stretch", "size_px": 150, "percentiles": [0.5, 99.5]},
    }  # fmt: skip
    (steps,) = [
        block
        for block in preparation_section(small_inputs(config=config)).blocks
        if isinstance(block, Bullets)
    ]
    joined = " ".join(steps.items)
    for words in ("Every scan was prepared", "No bias field", "HD-BET", "20 axial", "entropy",
                  "stretched to a square", "150 \u00d7 150", "its own darkest"):  # fmt: skip
        assert words in joined
    ready = small_inputs(
        config=config, quality=quality({"scan_id": "a1", "patient_id": "a", "reasons": ""})
    )
    assert "HD-BET" not in repr(preparation_section(ready).blocks[0])


def test_duplicates_across_patients_are_a_fault() -> None:
    section = preparation_section(make_inputs())
    (said,) = texts(section, "fault")
    assert said == "1 pair of scans look like one; 1 of them under two patients' names."
    inputs = make_inputs()
    audit = inputs.audit.plain()
    (pair,) = audit["duplicates"]["pairs"]
    pair |= {"kind": "sessions that differ", "across_patients": False}
    section = preparation_section(replaced(inputs, audit=audit))
    (said,) = texts(section, "fault")
    assert said.startswith("0 pairs of scans look like one; 0 of them")
    assert said.endswith("1 pair of scans under one patient id do not look like one brain: one id, "
                         "two people?")  # fmt: skip
    without = replaced(make_inputs(), audit=None)
    assert any(
        "audit was not run" in text for text in texts(preparation_section(without), "missing")
    )


# --- training and reproducibility --------------------------------------------------------------


def test_sizes_of_training_are_counted() -> None:
    sizes = cells(tables(training_section(small_inputs()))["Sizes of training"])
    assert sizes == {
        "Training patients of a fold": ("3",),
        "Patients held out by a fold": ("3",),
        "Heads fitted for testing": ("2",),
        # Two folds tried two procedures on two inner folds each.
        "Heads fitted on inner folds, to choose": ("8",),
    }


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ({"kind": "linear", "inverse_l2": [10.0, 30.0], "zones": 2, "balanced": True},
         ("L2", "C = 10, 30", "2 zones", "inversely")),
        ({"kind": "mlp", "hidden": 256, "epochs": 100, "learning_rate": 0.001},
         ("RMSprop", "0.001", "100 epochs", "No class weights")),
        ({"kind": "attention", "weight_decay": 0.1, "balanced": False},
         ("AdamW", "0.1", "No class weights")),
    ],
)  # fmt: skip
def test_heads_are_put_into_words(head: dict[str, Any], words: tuple[str, ...]) -> None:
    text = repr(training_section(small_inputs(config={"heads": head})))
    for word in words:
        assert word in text


def test_reproducibility_shows_commands_digests_and_every_setting() -> None:
    inputs = small_inputs(
        provenance=make_provenance(commands=("mri-transfer run X",)),
        artefacts={"folds.csv": "ab" * 32},
    )
    section = reproducibility_section(inputs)
    commands = [b.items for b in section.blocks if isinstance(b, Bullets) and b.role == "commands"]
    assert commands == [("mri-transfer run X",), ("sha256sum Y",)]
    found = tables(section)
    assert cells(found["SHA-256 of the files behind this report"]) == {"folds.csv": ("ab" * 32,)}
    assert cells(found["What made these figures"]) == {
        "mri-transfer": ("0.1.0",), "git commit": ("0123abcd",), "seed": ("7",),
        "trunk weights (sha256)": ("0f" * 32,), "features computed on": ("cpu",),
        "features computed in": ("not recorded",),
    }  # fmt: skip
    (settings,) = [block for block in walk(section.blocks) if isinstance(block, Facts)]
    assert settings.content == inputs.settings.every


def test_what_is_not_recorded_is_said() -> None:
    section = reproducibility_section(small_inputs(provenance=None, artefacts={}, config={}))
    assert len(texts(section, "missing")) == 4


# --- all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", SECTIONS)
def test_sections_are_the_same_twice_and_their_tables_even(make: Any) -> None:
    inputs = small_inputs(excluded=LEFT_OUT)
    section = make(inputs)
    assert section == make(inputs)
    for table in tables(section).values():
        assert all(isinstance(row, Row) for row in table.rows)
        assert {len(row.cells) + 1 for row in table.rows} <= {len(table.columns)}
        assert set(table.wide) <= set(table.columns)


@pytest.mark.parametrize("make", SECTIONS)
def test_bare_inputs_are_no_fault(make: Any) -> None:
    """No quality, folds, scans, audit, settings or provenance, and four patients."""
    base = make_inputs(n_patients=4)
    inputs = replaced(
        base, audit=None, config={}, provenance=None, evaluation={
            **base.evaluation.plain(), "choices": [], "n_scans": None, "n_slices": None,
        }, patients=base.patients[["label"]], slice_scores=base.slice_scores,
    )  # fmt: skip
    assert make(inputs).blocks


@pytest.mark.parametrize("make", SECTIONS)
def test_names_of_levels_and_scans_reach_drawings_as_text(make: Any) -> None:
    inputs = small_inputs()
    patients = inputs.patients.assign(site=HOSTILE, label=inputs.patients["label"] + HOSTILE)
    for block in make(replaced(inputs, patients=patients, excluded=LEFT_OUT)).blocks:
        assert not isinstance(block, Figure) or "<script" not in block.svg
