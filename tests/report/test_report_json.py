"""report.json: everything that is shown, in a form that is published."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from mri_transfer.core.documents import Part
from mri_transfer.errors import RunFolderError
from mri_transfer.report.blocks.document import Facts, Figure, Folded, Row, Section
from mri_transfer.report.blocks.report import Report
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

APART = {"schema_name", "sha256", "svg", "svg_sha256", "type"}


def faults(document: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema_of("report"))
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(document)
    ]


KINDS = tuple(schema_of("report")["$defs"]["AnyBlock"]["discriminator"]["mapping"])


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return make_report(*every_block()).plain()


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
    """Return every text of a report's tree; not of drawings, nor what names a block or file."""
    if isinstance(tree, str):
        return {tree}
    if isinstance(tree, Part | Row):
        return texts_of([value for name, value in vars(tree).items() if name not in APART])
    if isinstance(tree, dict):
        return set(tree) | texts_of(list(tree.values()))
    if isinstance(tree, list | tuple):
        return set().union(*map(texts_of, tree))
    return set()


def test_every_kind_of_block_is_as_the_schema_says(document: dict[str, Any]) -> None:
    assert faults(document) == []
    assert [kind for kind in KINDS if not blocks_of(document, kind)] == []


def test_nothing_that_is_shown_is_missing(document: dict[str, Any]) -> None:
    assert texts_of(make_report(*every_block())) - texts_of(document) == set()


def test_schema_refuses_what_is_less_or_more(document: dict[str, Any]) -> None:
    schema = schema_of("report")
    for name in schema["required"]:
        assert faults({key: value for key, value in document.items() if key != name}), name
    assert faults({**document, "more": 1})
    for kind in KINDS:
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
    assert [p for name, one in named for p in silent(one, name) if p != "JsonValue"] == []


def test_drawings_and_pictures_are_named_by_their_content() -> None:
    picture = make_picture()
    found = make_report(make_figure(), picture).plain()["sections"][0]["blocks"]
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
    with pytest.raises(ValidationError, match="attributions"):
        replaced(make_sheet(), attributions=(nan, inf))
    report = make_report(Facts(title="f", content={"a": nan, "b": [inf], "n": 3}))
    report.write(tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    (facts,) = document["sections"][0]["blocks"]
    assert facts["content"] == {"a": "nan", "b": ["inf"], "n": 3}
    assert faults(document) == []


def test_same_report_gives_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_report(*every_block()).write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_was_written_is_read_and_nothing_else(
    document: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    make_report(*every_block()).write(path)
    assert Report.read(path, stage="report").plain() == document
    for fault in ("schema", "title", "sections"):
        path.write_text(json.dumps({**document, fault: 7}))
        with pytest.raises(RunFolderError, match="version" if fault == "schema" else fault):
            Report.read(path, stage="report")
    figure = next(block for block in document["sections"][0]["blocks"] if block["type"] == "figure")
    nameless = {**figure, "svg_sha256": ""}
    with pytest.raises(ValidationError, match="svg_sha256"):
        Figure.model_validate(nameless)
    del nameless["svg_sha256"]
    with pytest.raises(ValidationError, match="svg_sha256"):
        Figure.model_validate(nameless)


def test_schema_knows_blocks_at_any_depth(document: dict[str, Any]) -> None:
    report = make_report()
    deep = Folded(title="1", blocks=(Folded(title="2", blocks=every_block()),))
    section = Section(id="deep", title="Deep", short="Deep", blocks=(deep,))
    found = replaced(report, sections=(section,)).plain()
    assert faults(found) == []
    del found["sections"][0]["blocks"][0]["blocks"][0]["blocks"][0]["text"]
    assert len(faults(found)) == 1
