"""Cards: fields that the Hub reads, the report's own words, and no mark made by a manifest."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mri_transfer.report import ReportInputs
from mri_transfer.report.blocks.document import Row, Table
from mri_transfer.report.front import compose_front
from mri_transfer.report.pages.cards import (
    data_sheet,
    model_card,
    write_data_sheet,
    write_model_card,
)
from mri_transfer.report.pages.data_questions import SUPPLY, data_questions
from mri_transfer.report.render.markdown import Markdown, escaped, markdown_table
from tests.report.documents import entry, make_inputs, replaced

EVIL = (
    "<script>alert(1)</script>", "[a](javascript:alert(1))", "# big", "a | b", "---\nlicense: mit",
    "![x](http://evil.example/p.png)", "`code` *strong* _weak_ ~~gone~~", "&lt;b&gt;", "1. one",
    "- x\n- y", "https://evil.example", "www.evil.example", "me@evil.example", "{{ 7 * 7 }}",
    "\u2028# line", "\\", "$x$", "<!-- -->",
)  # fmt: skip


def parsed(text: str) -> Any:
    """Return the tokens of Markdown, those inside lines too."""
    markdown = MarkdownIt("commonmark").enable("table")
    return [inner for token in markdown.parse(text) for inner in (token, *(token.children or ()))]


def body_of(card: str) -> str:
    """Return a card without its front matter."""
    return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)


def renamed(inputs: ReportInputs, name: str) -> ReportInputs:
    """Return inputs in which whatever a manifest may hold is called `name`."""
    evaluation = copy.deepcopy(dict(inputs.evaluation.plain()))
    positive = evaluation["positive_label"]
    evaluation["positive_label"] = name
    evaluation["caveats"] = [{"code": "small_sample", "text": f"Few are labelled {name}"}]
    for row in evaluation["subgroups"]["rows"]:
        row["level"] = name
    patients = inputs.patients.assign(site=name, **{name: "x"})
    patients["label"] = patients["label"].replace(positive, name)
    scores = inputs.patient_scores.replace({"label": positive, "predicted": positive}, name)
    return replaced(
        inputs,
        title=name,
        evaluation=evaluation,
        patients=patients,
        patient_scores=scores,
        excluded=inputs.excluded.assign(reason=name),
    )


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return make_inputs(n_patients=12)


def cards_of(inputs: ReportInputs) -> tuple[str, str]:
    """Return model card and data sheet."""
    return model_card(inputs, compose_front(inputs)), data_sheet(inputs)


def test_the_hub_reads_each_figure_with_its_interval(inputs: ReportInputs) -> None:
    card = ModelCard(cards_of(inputs)[0])
    figures = {result.metric_type: result for result in card.data.eval_results}
    auc = inputs.evaluation.plain()["patient"]["auc"]
    assert figures["roc_auc"].metric_value == pytest.approx(auc["value"], abs=5e-5)
    assert figures["roc_auc"].metric_args["ci_low"] == pytest.approx(auc["ci_low"], abs=5e-5)
    assert figures["roc_auc"].metric_args["ci_high"] == pytest.approx(auc["ci_high"], abs=5e-5)
    assert figures["roc_auc"].metric_args["confidence"] == inputs.evaluation.plain()["confidence"]
    assert figures["recall"].metric_value == pytest.approx(
        inputs.evaluation.plain()["patient"]["sensitivity"]["value"], abs=5e-5
    )
    assert card.data.license == "unknown"
    assert card.data.datasets is None
    assert "research-use-only" in card.data.tags


def test_a_figure_that_is_not_defined_is_left_to_the_text_with_its_reason(
    inputs: ReportInputs,
) -> None:
    evaluation = copy.deepcopy(dict(inputs.evaluation.plain()))
    evaluation["patient"]["auc"] = entry(None, reason="one label only")
    evaluation["patient"]["ppv"] |= {"ci_low": None, "ci_high": None, "reason": "too few calls"}
    text = cards_of(replaced(inputs, evaluation=evaluation))[0]
    results = ModelCard(text).data.eval_results
    figures = {result.metric_type: result for result in results}
    assert "roc_auc" not in figures
    assert "one label only" in body_of(text)
    assert figures["precision"].metric_args == {"no_interval": "too few calls"}


def test_a_synthetic_cohort_is_called_so_in_fields_and_text(inputs: ReportInputs) -> None:
    evaluation = {**inputs.evaluation.plain(), "synthetic": True}
    model, data = cards_of(replaced(inputs, evaluation=evaluation))
    assert "synthetic" in ModelCard(model).data.tags
    assert "synthetic" in DatasetCard(data).data.tags
    assert "Synthetic cohort." in body_of(model)
    assert "Synthetic cohort." in body_of(data)
    assert "synthetic" not in ModelCard(cards_of(inputs)[0]).data.tags


def test_the_card_says_what_the_first_screen_says(inputs: ReportInputs) -> None:
    front = compose_front(inputs)
    shown = " ".join(
        token.content for token in parsed(body_of(cards_of(inputs)[0])) if token.type == "text"
    )
    squeezed = re.sub(r"[\s\u00a0]+", " ", shown)
    for said in (front.answer, front.comparison, *front.top_caveats, *front.other_caveats):
        words = [part for part in re.split(r"[<>&\u00a0]", said) if len(part) > 20]
        assert all(re.sub(r"\s+", " ", part).strip() in squeezed for part in words), said


def test_no_patient_is_named(inputs: ReportInputs) -> None:
    both = "".join(cards_of(inputs))
    names = {*inputs.patients.index, *inputs.excluded["scan_id"], *inputs.excluded["patient_id"]}
    assert [name for name in names if name in both] == []


def test_what_only_authors_know_is_said_so_and_every_question_is_answered(
    inputs: ReportInputs,
) -> None:
    questions = [one for part in data_questions(inputs) for one in part.questions]
    assert all(one.answer for one in questions)
    assert sum(one.answer == SUPPLY for one in questions) >= 10
    assert len({one.asks for one in questions}) == len(questions)


@pytest.fixture(scope="module")
def plain(inputs: ReportInputs) -> tuple[str, str]:
    """Cards of a manifest that holds nothing odd."""
    return cards_of(renamed(inputs, "plain"))


@pytest.mark.parametrize("name", EVIL)
def test_a_manifest_makes_no_mark_and_no_field(
    inputs: ReportInputs, plain: tuple[str, str], name: str
) -> None:
    for clean, card in zip(plain, cards_of(renamed(inputs, name)), strict=True):
        fields = yaml.safe_load(re.match(r"\A---\n(.*?)\n---\n", card, flags=re.DOTALL)[1])
        assert fields["license"] == "unknown"
        assert fields.keys() == yaml.safe_load(clean.split("---\n")[1]).keys()
        marks = [token.type for token in parsed(body_of(card)) if token.type not in _INLINE_TEXT]
        expected = [
            token.type for token in parsed(body_of(clean)) if token.type not in _INLINE_TEXT
        ]
        assert marks == expected
        assert "7 * 7" in card or "{{" not in name


_INLINE_TEXT = {"text", "text_special", "inline"}


@given(st.text(max_size=60) | st.text("\\`*_{}[]<>()#+-.!|~&:/=\"'1a \n\t@w$", max_size=30))
def test_escaped_text_shows_exactly_itself(text: str) -> None:
    shown = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text).split())
    tokens = [token for token in parsed(str(escaped(text))) if token.type != "inline"]
    kinds = [token.type for token in tokens if token.type not in _INLINE_TEXT]
    assert kinds == (["paragraph_open", "paragraph_close"] if shown else [])
    content = "".join(token.content for token in tokens if token.type in _INLINE_TEXT)
    # A blank that may not be broken stands for itself; others are one blank.
    assert " ".join(content.split()) == shown


def test_a_table_keeps_its_cells_apart() -> None:
    table = Table(
        caption="Cap*tion",
        columns=("A|B", "C"),
        rows=(Row("a|b", ("0.7\n0.6 to 0.8",), note="left out"), Row("", ("not defined:\nwhy",))),
    )
    tokens = [token for token in parsed(markdown_table(table)) if token.type == "inline"]
    shown = ["".join(inner.content for inner in token.children) for token in tokens]
    assert shown == [
        "Cap*tion", "A|B", "C", "a|b", "0.7; 0.6 to 0.8", "\u2013", "not defined: why",
    ]  # fmt: skip


def test_markdown_is_not_escaped_twice() -> None:
    once = escaped("a*b")
    assert escaped(once) == once == r"a\*b"
    assert isinstance(once, Markdown)


def test_cards_are_written_the_same_each_time(inputs: ReportInputs, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_model_card(inputs, compose_front(inputs), tmp_path / name / "model_card.md")
        write_data_sheet(inputs, tmp_path / name / "data_sheet.md")
    for file in ("model_card.md", "data_sheet.md"):
        first = (tmp_path / "one" / file).read_bytes()
        assert first == (tmp_path / "two" / file).read_bytes()
        assert first.startswith(b"---\n")
