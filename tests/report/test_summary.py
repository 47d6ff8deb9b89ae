"""The clinical summary: two pages that hold the answer, its limits and every term."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from pypdf import PdfReader

from mri_transfer.report import ReportInputs
from mri_transfer.report.blocks.document import Bullets, Figure, Section, Side, Table
from mri_transfer.report.compose import compose_report, compose_summary
from mri_transfer.report.render.pdf import render_summary
from mri_transfer.report.sections.glossary import glossary_section
from mri_transfer.report.sections.summary import summary_section
from tests.report.documents import entry, make_inputs, replaced


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return make_inputs()


def changed(inputs: ReportInputs, **evaluation: Any) -> ReportInputs:
    return replaced(inputs, evaluation={**inputs.evaluation.plain(), **evaluation})


def lists(section: Section) -> tuple[str, str]:
    """Return what the model may, and what it may not be used for."""
    may, may_not = (block for block in section.blocks if isinstance(block, Bullets))
    return " ".join(may.items), " ".join(may_not.items)


def test_the_scan_stands_beside_what_is_known_without_it(inputs: ReportInputs) -> None:
    (table,) = [one for one in summary_section(inputs).blocks if isinstance(one, Table)]
    heads = [row.head for row in table.rows]
    assert heads == ["MRI: this model", "Age + normalised whole-brain volume", "Age"]
    found = inputs.evaluation.baselines["age"]
    assert table.rows[2].cells[0].startswith(f"{found.auc.value:.2f}\n")
    assert f"{found.auc_difference.value:.2f}\n" in table.rows[2].cells[1]


def test_a_baseline_below_guessing_is_nothing_to_beat(inputs: ReportInputs) -> None:
    baselines = inputs.evaluation.plain()["baselines"]
    baselines["age"] |= {"auc": entry(0.43)}
    section = summary_section(changed(inputs, baselines=baselines))
    (table,) = [one for one in section.blocks if isinstance(one, Table)]
    assert "Age" not in [row.head for row in table.rows]


def test_curve_and_calibration_stand_in_the_summary_and_nowhere_else(inputs: ReportInputs) -> None:
    report = compose_report(inputs)
    drawn = {
        figure.name: section.id
        for section in report.sections
        for block in section.blocks
        for figure in (block.blocks if isinstance(block, Side) else (block,))
        if isinstance(figure, Figure)
    }
    assert drawn["roc"] == drawn["calibration"] == "summary"


def test_uses_follow_from_what_was_tested(inputs: ReportInputs) -> None:
    may, may_not = lists(summary_section(inputs))
    ages = inputs.patients["age"].dropna()
    assert "Research on patients like these" in may
    assert "Diagnosis, screening or any decision about a patient" in may_not
    assert f"Ages outside {ages.min():.0f} to {ages.max():.0f} were not tested." in may_not
    assert "Alzheimer's disease (AD) or cognitively normal (CN)" in may_not
    assert "50\u00a0% of these patients are labelled AD" in may_not


@pytest.mark.parametrize(
    ("changes", "only"),
    [({"synthetic": True}, "To check that the software works"), ({"trunk_weights": "random"},
                                                                 "As a control")],
)  # fmt: skip
def test_what_is_no_result_may_be_used_for_none(
    inputs: ReportInputs, changes: dict[str, Any], only: str
) -> None:
    may, _ = lists(summary_section(changed(inputs, **changes)))
    assert may.startswith(only)
    assert "Research on patients" not in may


def test_no_hypothesis_comes_out_of_guessing(inputs: ReportInputs) -> None:
    patient = {**inputs.evaluation.plain()["patient"], "auc": entry(0.55, 0.1)}
    assert "hypothesis" in lists(summary_section(inputs))[0]
    assert "hypothesis" not in lists(summary_section(changed(inputs, patient=patient)))[0]


def test_the_glossary_spells_out_labels_columns_and_measures(inputs: ReportInputs) -> None:
    (table,) = [one for one in glossary_section(inputs).blocks if isinstance(one, Table)]
    meanings = {row.head: row.cells[0] for row in table.rows}
    assert meanings["AD"] == "Alzheimer's disease"
    assert meanings["CN"] == "cognitively normal"
    assert meanings["nWBV (nwbv)"].startswith("normalised whole-brain volume: ")
    assert {"AUC", "CI", "sensitivity", "specificity", "calibration", "threshold"} <= set(meanings)
    assert list(meanings) == sorted(meanings, key=str.lower)


def test_a_glossary_explains_no_column_that_the_cohort_lacks(inputs: ReportInputs) -> None:
    bare = replaced(inputs, patients=inputs.patients[["label"]])
    (table,) = [one for one in glossary_section(bare).blocks if isinstance(one, Table)]
    assert not [row.head for row in table.rows if "nwbv" in row.head]


@pytest.mark.parametrize(
    ("n_caveats", "paper"),
    [
        (6, "a4"),
        pytest.param(2, "us-letter", marks=pytest.mark.slow),
        pytest.param(14, "us-letter", marks=pytest.mark.slow),
    ],
)
def test_the_summary_prints_on_two_pages(inputs: ReportInputs, n_caveats: int, paper: Any) -> None:
    rng = np.random.default_rng(n_caveats)
    caveats = [
        {"code": f"made_up_{chr(97 + i)}", "text": f"Caveat {i}: " + "some words of a caveat " * 5}
        for i in rng.permutation(n_caveats)
    ]
    report = compose_summary(changed(inputs, caveats=caveats))
    reader = PdfReader(io.BytesIO(render_summary(report, paper=paper)))
    assert len(reader.pages) == 2
    text = " ".join("".join(page.extract_text() for page in reader.pages).split())
    for i in range(n_caveats):
        assert f"Caveat {i}:" in text
    for part in ("Alzheimer's disease (AD)", "What it may not be used for", "Glossary", "AUC 0.61"):
        assert part in text


@pytest.mark.slow
def test_the_summary_is_the_same_alone_and_in_the_report(inputs: ReportInputs) -> None:
    assert render_summary(compose_summary(inputs)) == render_summary(compose_report(inputs))
