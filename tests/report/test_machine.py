"""report.json: everything that is shown, in a form that is published."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from mri_transfer.report.blocks.document import Facts, Folded, Section
from mri_transfer.report.render.machine import report_document, write_machine
from mri_transfer.report.schemas import schema_of
from tests.report.documents import replaced
from tests.report.tree import (
    HOSTILE,
    SVG,
    every_block,
    make_figure,
    make_picture,
    make_report,
    make_sheet,
)


def faults(document: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema_of("report"))
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(document)
    ]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return report_document(make_report(*every_block()))


def blocks_of(document: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Find blocks of a kind, however deep they lie."""
    found = []
    waiting: list[Any] = [document["sections"]]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, dict):
            found += [one] if one.get("type") == kind else []
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def texts_of(tree: Any) -> set[str]:
    """Return every text of a report's tree, its drawings' apart."""
    if isinstance(tree, str):
        return {tree}
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [field.name for field in dataclasses.fields(tree) if field.name != "svg"]
        return set().union(*(texts_of(getattr(tree, name)) for name in names))
    if isinstance(tree, dict):
        return set(tree).union(*(texts_of(value) for value in tree.values()))
    if isinstance(tree, list | tuple):
        return set().union(*(texts_of(one) for one in tree))
    return set()


def test_every_kind_of_block_is_as_the_schema_says(document: dict[str, Any]) -> None:
    assert faults(document) == []
    kinds = schema_of("report")["$defs"]["block"]["properties"]["type"]["enum"]
    assert [kind for kind in kinds if not blocks_of(document, kind)] == []


def test_nothing_that_is_shown_is_missing(document: dict[str, Any]) -> None:
    assert texts_of(make_report(*every_block())) - texts_of(document) == set()


def test_schema_refuses_what_is_less_or_more(document: dict[str, Any]) -> None:
    schema = schema_of("report")
    for name in schema["required"]:
        assert faults({key: value for key, value in document.items() if key != name}), name
    assert faults({**document, "more": 1})
    for kind in schema["$defs"]["block"]["properties"]["type"]["enum"]:
        block = blocks_of(document, kind)[0]
        section = {"id": "s", "title": "S", "short": "S"}
        for name in block:
            less = {key: value for key, value in block.items() if key != name}
            assert faults({**document, "sections": [{**section, "blocks": [less]}]}), (kind, name)


def test_every_place_of_the_schema_says_what_it_is() -> None:
    def silent(node: dict[str, Any], path: str) -> list[str]:
        bare = [path] if not ({"description", "$ref", "const"} & set(node)) else []
        for name, one in node.get("properties", {}).items():
            bare += silent(one, f"{path}/{name}")
        return bare

    schema = schema_of("report")
    named = [("", schema), *schema["$defs"].items()]
    # What the discriminator of a block may be is described with the block.
    assert [p for name, one in named for p in silent(one, name) if p != "block/type"] == []


def test_drawings_and_pictures_are_named_by_their_content() -> None:
    picture = make_picture()
    found = report_document(make_report(make_figure(), picture))["sections"][0]["blocks"]
    assert found[0]["svg_sha256"] == hashlib.sha256(SVG.encode()).hexdigest()
    assert found[0]["alt"] == "Two <lines> that cross"
    assert found[1]["sha256"] == hashlib.sha256(picture.content).hexdigest()
    assert {"svg", "content"}.isdisjoint({*found[0], *found[1]})


def test_panels_are_there_in_full(document: dict[str, Any]) -> None:
    (panels,) = blocks_of(document, "patient_panels")
    assert [panel["patient_id"] for panel in panels["panels"]] == [HOSTILE, "p2"]
    assert panels["panels"][0]["covariates"] == {"age": "71", "site": ""}
    kinds = [block["type"] for block in panels["panels"][0]["blocks"]]
    assert kinds == ["slice_sheet", "table"]
    assert panels["panels"][0]["blocks"][0]["scores"] == [0.25, None]


def test_what_is_not_finite_is_no_number(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    report = make_report(
        replaced(make_sheet(), attributions=(nan, inf)),
        Facts(title="f", content={"a": nan, "b": [np.float64(inf)], "n": np.int64(3)}),
    )
    write_machine(report, tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    sheet, facts = document["sections"][0]["blocks"]
    assert sheet["attributions"] == [None, None]
    assert facts["content"] == {"a": "nan", "b": ["inf"], "n": 3}
    assert faults(document) == []


def test_same_report_gives_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_machine(make_report(*every_block()), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text()) == report_document(make_report(*every_block()))


def test_schema_knows_blocks_at_any_depth(document: dict[str, Any]) -> None:
    report = make_report()
    deep = Folded(title="1", blocks=(Folded(title="2", blocks=every_block()),))
    section = Section(id="deep", title="Deep", short="Deep", blocks=(deep,))
    found = report_document(replaced(report, sections=(section,)))
    assert faults(found) == []
    del found["sections"][0]["blocks"][0]["blocks"][0]["blocks"][0]["text"]
    assert len(faults(found)) == 1
