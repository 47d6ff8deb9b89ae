"""The report as one tree: every section in its place, every block whole."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from mri_transfer.report import ReportInputs
from mri_transfer.report.blocks.document import (
    Block,
    Confusion,
    Figure,
    Folded,
    Picture,
    Side,
    Table,
    Text,
)
from mri_transfer.report.blocks.report import Report
from mri_transfer.report.compose import SECTIONS, compose_report
from mri_transfer.report.front import compose_front
from tests.report.documents import (
    entry,
    make_audit,
    make_check,
    make_classes,
    make_full_audit,
    make_inputs,
    replaced,
)

ORDER = (
    "summary", "glossary",
    "discrimination", "calibration", "utility", "comparison", "subgroups", "leakage", "shortcuts",
    "patients", "limits",
    "flow", "baseline", "data", "explanation", "failures", "robustness", "precision", "learning",
    "preparation", "model", "training", "reproducibility", "checklists",
)  # fmt: skip


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    inputs = make_inputs()
    evaluation = {**inputs.evaluation.plain(), "classes": make_classes()}
    return replaced(inputs, evaluation=evaluation, audit=make_full_audit())


@pytest.fixture(scope="module")
def report(inputs: ReportInputs) -> Report:
    return compose_report(inputs)


def blocks_of(blocks: Iterable[Block]) -> Iterator[Block]:
    """Return every block, those inside others too."""
    for block in blocks:
        yield block
        if isinstance(block, (Folded, Side)):
            yield from blocks_of(block.blocks)


@pytest.fixture(scope="module")
def blocks(report: Report) -> list[Block]:
    return [block for section in report.sections for block in blocks_of(section.blocks)]


def test_every_section_stands_once_and_in_the_fixed_order(report: Report) -> None:
    assert tuple(section.id for section in report.sections) == ORDER


def test_every_section_has_a_title_a_short_name_and_something_to_say(report: Report) -> None:
    for section in report.sections:
        assert section.title
        assert len(section.short) <= 24
        assert section.blocks
    assert len({section.short for section in report.sections}) == len(report.sections)


def test_a_bare_run_still_has_every_section(inputs: ReportInputs) -> None:
    evaluation = {
        **inputs.evaluation.plain(), "caveats": [], "classes": None,
        "patient": {name: entry(None, reason="one label only")
                    for name in inputs.evaluation.plain()["patient"]},
        "baselines": {}, "incremental_value": {}, "per_repeat": [], "per_fold": [], "choices": [],
        "operating_points": [], "predictive_values": [], "failures": [],
    }  # fmt: skip
    bare = replaced(
        inputs, evaluation=evaluation, audit=None, config={}, provenance=None,
        patient_scores=inputs.patient_scores.iloc[:0], slice_scores=inputs.slice_scores.iloc[:0],
        excluded=inputs.excluded.iloc[:0], patients=inputs.patients[["label"]],
    )  # fmt: skip
    report = compose_report(bare)
    assert tuple(section.id for section in report.sections) == ORDER
    assert report.front.answer == (
        "There is no answer: the AUC by patient is not defined: one label only."
    )
    for section in report.sections:
        assert section.blocks, section.id


def test_rows_fit_their_columns_and_wide_columns_exist(blocks: list[Block]) -> None:
    numbers = [
        table for block in blocks if isinstance(block, (Figure, Picture)) for table in block.numbers
    ]
    for table in [*numbers, *(block for block in blocks if isinstance(block, Table))]:
        assert table.rows, table.caption
        assert {len(row.cells) + 1 for row in table.rows} == {len(table.columns)}, table.caption
        assert set(table.wide) <= set(table.columns), table.caption


def test_every_figure_has_its_own_safe_name_and_numbers(blocks: list[Block]) -> None:
    drawn = [block for block in blocks if isinstance(block, Figure)]
    names = [figure.name for figure in drawn]
    assert len(set(names)) == len(names) >= 8
    for figure in drawn:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", figure.name)
        assert figure.svg.startswith("<svg")
        assert "<title" in figure.svg
        assert figure.numbers, figure.name
    ids = [name for figure in drawn for name in re.findall(r'\bid="([^"]+)"', figure.svg)]
    assert len(set(ids)) == len(ids)


def test_cross_tabulations_are_square(blocks: list[Block]) -> None:
    for block in blocks:
        if isinstance(block, Confusion):
            shape = {len(block.labels), len(block.counts), *map(len, block.counts)}
            assert len(shape) == 1


def test_links_lead_to_sections_or_to_files_beside_the_report(
    report: Report, blocks: list[Block]
) -> None:
    links = [link for block in blocks if isinstance(block, Text) for link in block.links]
    links += [banner.link for banner in report.front.banners if banner.link]
    for link in links:
        if link.target.startswith("#"):
            assert link.target[1:] in ORDER
        else:
            assert "://" not in link.target


def test_same_inputs_make_the_same_report(inputs: ReportInputs, report: Report) -> None:
    assert compose_report(copy.deepcopy(inputs)) == report


def test_every_builder_is_named_after_its_section(report: Report) -> None:
    names = [
        make.__name__.removesuffix("_section") for layer in SECTIONS.values() for make in layer
    ]
    assert tuple([*names, "checklists"]) == ORDER


# --- front -------------------------------------------------------------------------------------


def front(inputs: ReportInputs, **changes: Any) -> Any:
    evaluation = {**inputs.evaluation.plain(), **changes}
    return compose_front(replaced(inputs, evaluation=evaluation))


def test_first_screen_answers_with_its_interval(inputs: ReportInputs) -> None:
    shown = front(inputs)
    answer = shown.answer.replace("\u00a0", " ")
    assert "61 times in 100: AUC 0.61 (95 % CI 0.53 to 0.69)." in answer
    assert "20 labelled Alzheimer's disease (AD), 20 labelled cognitively" in shown.on_whom
    assert "5-fold cross-validation, run 2 times" in shown.studied
    assert [figure.value for figure in shown.key_figures] == ["0.61", "0.64", "0.66", "0.67"]
    assert not shown.banners


def test_first_screen_compares_with_covariates_and_not_with_a_reading_of_the_image(
    inputs: ReportInputs,
) -> None:
    volumes = "(age + normalised whole-brain volume)"
    told = f"The best baseline of covariates {volumes} reaches an AUC of 0.74"
    assert told in front(inputs).comparison
    only = {"intensity histogram": inputs.evaluation.plain()["baselines"]["intensity histogram"]}
    assert front(inputs, baselines=only).comparison == ""


def test_caveats_of_evaluation_and_run_are_ranked_together(inputs: ReportInputs) -> None:
    shown = front(inputs)
    few, site = (caveat["text"] for caveat in inputs.evaluation.plain()["caveats"])
    assert shown.top_caveats[0].startswith("1 pair of scans of different patients look like one")
    assert shown.top_caveats[1:] == (few, site)
    assert shown.other_caveats == (
        "1 pair of scans is the same file: fewer scans were seen than are counted.",
    )


def test_banners_stand_in_the_order_of_their_gravity(inputs: ReportInputs) -> None:
    audit = {**make_audit(), "checks": [make_check("folds_partition", {"fold": 1})]}
    shown = front(replaced(inputs, audit=audit), synthetic=True, trunk_weights="random")
    assert [banner.role for banner in shown.banners] == ["synthetic", "random", "failed"]
    failed = shown.banners[-1]
    assert failed.title == "1 check of the audit did not pass."
    assert failed.items == ("What folds_partition looks for: 1 violation found, 15 checked",)
    assert failed.link is not None
    assert failed.link.target == "#leakage"
    assert "In this synthetic cohort" in shown.answer


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.41, 0.69, "guessing is not ruled out"), (0.2, 0.4, "worse than guessing")],
)
def test_answer_says_when_guessing_is_not_excluded(
    inputs: ReportInputs, low: float, high: float, words: str
) -> None:
    patient = {
        **inputs.evaluation.plain()["patient"],
        "auc": entry((low + high) / 2, (high - low) / 2),
    }
    assert words in front(inputs, patient=patient).answer
