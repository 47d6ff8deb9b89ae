"""The published schemas: what the library writes fits them, and nothing less does."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from mri_transfer.report.schemas import DOCUMENTS, describe, describe_names, schema_of, schema_text
from mri_transfer.report.schemas.write import MODELS, generated_text
from tests.documents import audit_document, bare_audit_document, evaluation_document

MAKERS = {"evaluation": evaluation_document, "audit": audit_document}
each_document = pytest.mark.parametrize("document", DOCUMENTS)
Path = tuple[str | int, ...]
#: A value of every type that JSON has.
VALUES = {
    "null": None,
    "boolean": True,
    "integer": 3,
    "number": 0.5,
    "string": "text",
    "array": [],
    "object": {},
}


@functools.cache
def _validator(document: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema_of(document))


def _faults(document: str, content: Any) -> list[str]:
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in _validator(document).iter_errors(content)
    ]


def _at(content: Any, path: Path) -> Any:
    for key in path:
        content = content[key]
    return content


def _merged(document: str, node: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with what it refers to; the nearer word counts."""
    if "anyOf" in node:
        parts = [_merged(document, one) for one in node["anyOf"]]
        objects = [one for one in parts if "properties" in one]
        joined = {
            "type": [kind for one in parts for kind in _types(one)],
            "properties": {k: v for one in objects for k, v in one["properties"].items()},
            "required": [
                name
                for name in (objects[0].get("required", ()) if objects else ())
                if all(name in one.get("required", ()) for one in objects)
            ],
        }
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return {**{k: v for one in reversed(parts) for k, v in one.items()}, **joined, **rest}
    if "$ref" not in node:
        return node
    target = _validator(document).schema["$defs"][node["$ref"].rpartition("/")[2]]
    below = _merged(document, target)
    properties = dict(below.get("properties", {}))
    for name, one in node.get("properties", {}).items():
        properties[name] = {**properties.get(name, {}), **one}
    required = [*below.get("required", ()), *node.get("required", ())]
    return {**below, **node, "properties": properties, "required": required}


def _types(node: dict[str, Any]) -> list[str]:
    types = node.get("type", list(VALUES))
    return [types] if isinstance(types, str) else list(types)


@functools.cache
def _kinds(document: str) -> dict[Path, dict[str, Any]]:
    """Every place that a schema describes; `*` stands for names and for positions."""
    found: dict[Path, dict[str, Any]] = {}
    waiting: list[tuple[Path, dict[str, Any]]] = [((), _validator(document).schema)]
    while waiting:
        path, written = waiting.pop()
        found[path] = written
        node = _merged(document, written)
        waiting += [((*path, name), one) for name, one in node.get("properties", {}).items()]
        for keyword in ("items", "additionalProperties"):
            if isinstance(node.get(keyword), dict):
                waiting.append(((*path, "*"), node[keyword]))
    return found


def _places(
    document: str, value: Any, kind: Path = (), path: Path = ()
) -> Iterator[tuple[Path, Path, Any]]:
    """Yield the kind, the path and the value of every place in a document."""
    yield kind, path, value
    children = value.items() if isinstance(value, dict) else ()
    for key, child in enumerate(value) if isinstance(value, list) else children:
        known = (*kind, key) if (*kind, key) in _kinds(document) else (*kind, "*")
        if known in _kinds(document):
            yield from _places(document, child, known, (*path, key))
        else:
            # What contradicts a check, and settings of a head, are described as a whole.
            assert {"found", "head"} & set(path), f"{(*path, key)} is not in the schema"


@functools.cache
def _examples(document: str) -> dict[Path, tuple[Path, Any]]:
    """The first place of each kind in a document of the library, with its value."""
    found: dict[Path, tuple[Path, Any]] = {}
    for kind, path, value in _places(document, MAKERS[document]()):
        if kind not in found or found[kind][1] is None:
            found[kind] = (path, value)
    return found


def _accepts(document: str, kind: Path, value: Any) -> bool:
    return bool(_validator(document).evolve(schema=_kinds(document)[kind]).is_valid(value))


@pytest.mark.parametrize("document", MODELS)
def test_the_files_are_those_that_the_models_give(document: str) -> None:
    """After a change of a model, `make schemas` writes them anew."""
    assert schema_text(document) == generated_text(document)


@each_document
def test_schemas_are_schemas(document: str) -> None:
    schema = schema_of(document)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False


@each_document
def test_what_the_library_writes_fits(document: str) -> None:
    assert _faults(document, MAKERS[document]()) == []


def test_documents_without_what_is_made_on_demand_fit() -> None:
    assert _faults("audit", bare_audit_document()) == []
    assert _faults("evaluation", {**evaluation_document(), "classes": None}) == []


def test_the_name_of_the_form_is_the_one_that_is_written() -> None:
    for document in DOCUMENTS:
        written = MAKERS[document]()["schema"]
        assert schema_of(document)["properties"]["schema"]["const"] == written
        assert _faults(document, {**MAKERS[document](), "schema": "another/1"})


@each_document
def test_no_required_key_may_be_missing(document: str) -> None:
    tried, accepted = 0, []
    for kind, (_, value) in _examples(document).items():
        node = _merged(document, _kinds(document)[kind])
        for name in node.get("required", ()) if isinstance(value, dict) else ():
            tried += 1
            if _accepts(document, kind, {key: one for key, one in value.items() if key != name}):
                accepted.append((*kind, name))
    assert tried > 300
    assert accepted == []


@each_document
def test_every_top_level_key_is_promised(document: str) -> None:
    assert sorted(schema_of(document)["required"]) == sorted(MAKERS[document]())


@each_document
def test_no_value_may_be_of_another_type(document: str) -> None:
    tried, accepted = 0, []
    for kind, written in _kinds(document).items():
        allowed = set(_types(_merged(document, written)))
        allowed |= {"integer"} if "number" in allowed else set()
        for name in VALUES.keys() - allowed:
            tried += 1
            if _accepts(document, kind, VALUES[name]):
                accepted.append((kind, name))
    assert tried > 1000
    assert accepted == []


@each_document
def test_keys_that_are_not_described_are_refused(document: str) -> None:
    accepted = set()
    for kind, (_, value) in _examples(document).items():
        if isinstance(value, dict) and _accepts(document, kind, {**value, "zzz": "unknown"}):
            accepted.add(kind)
    assert {kind[-1] for kind in accepted} <= {"covariates", "head", "reasons", "*"}
    assert {kind[-2] for kind in accepted if kind[-1] == "*"} <= {"found"}


@each_document
def test_objects_whose_keys_are_names_say_what_is_named(document: str) -> None:
    silent = []
    for kind, written in _kinds(document).items():
        node = _merged(document, written)
        named = isinstance(node.get("additionalProperties"), dict) and not node.get("properties")
        if named and kind[-2:] != ("found", "*") and not node["propertyNames"].get("description"):
            silent.append(kind)
    assert silent == []


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        ("evaluation", ("n_patients",), -1),
        ("evaluation", ("confidence",), 1.0),
        ("evaluation", ("trunk_weights",), "guessed"),
        ("evaluation", ("patient", "auc", "value"), 1.01),
        ("evaluation", ("patient", "auc", "ci_low"), -0.01),
        ("evaluation", ("patient", "auc", "n"), -1),
        ("evaluation", ("patient", "positive_likelihood_ratio", "value"), -0.1),
        ("evaluation", ("roc", "tpr", 0), 1.5),
        ("evaluation", ("baselines", "age", "auc_difference", "p"), 1.2),
        ("evaluation", ("baselines", "age", "auc_difference", "value"), -1.2),
        ("evaluation", ("baselines", "age", "auc_difference_folds", "p"), -0.2),
        ("evaluation", ("baselines", "age", "mcnemar", "accuracy", "p_mid"), 1.0001),
        ("evaluation", ("baselines", "age", "kind"), "magic"),
        ("evaluation", ("confusion", "matrix"), [[1.0, 2.0]]),
        ("evaluation", ("subgroups", "gaps", "rows", 0, "p_holm"), 2.0),
        ("evaluation", ("choices", 0, "recalibration", "method"), "guess"),
        ("evaluation", ("classes", "one_vs_rest", "MCI", "auc", "value"), 2.0),
        ("audit", ("leakage", "p_values", "slice_auc", "value"), 1.5),
        ("audit", ("leakage", "arms", "slice_split_true_labels", "slice_auc", "value"), 78.0),
        ("audit", ("leakage", "inflation", "value"), 101.0),
        ("audit", ("duplicates", "pairs", 0, "kind"), "twins"),
        ("audit", ("checks", 0, "n_found"), -1),
        ("audit", ("shortcuts", "covariates", 0, "verdict"), "fine"),
        ("audit", ("retest", "flip_rate", "value"), 1.1),
    ],
)
def test_values_out_of_range_are_refused(document: str, path: Path, value: Any) -> None:
    content = MAKERS[document]()
    _at(content, path[:-1])[path[-1]] = value
    assert len(_faults(document, content)) >= 1


def test_an_arm_of_another_name_is_refused() -> None:
    content = audit_document()
    arms = content["leakage"]["arms"]
    arms["hospital_split_true_labels"] = arms["slice_split_true_labels"]
    assert _faults("audit", content)


@pytest.mark.parametrize("name", ["value", "ci_low", "ci_high"])
@pytest.mark.parametrize(
    "path",
    [
        ("patient", "auc"),
        ("patient", "calibration_slope"),
        ("baselines", "age", "auc_difference"),
        ("baselines", "age", "auc_difference_folds"),
        ("decision_curve", "model", 3),
    ],
)
def test_a_figure_without_a_number_needs_a_reason(path: Path, name: str) -> None:
    content = evaluation_document()
    figure = _at(content, path)
    figure.pop("reason", None)
    figure[name] = None
    assert _faults("evaluation", content)
    figure["reason"] = ""
    assert _faults("evaluation", content)
    figure["reason"] = "nobody was asked"
    assert _faults("evaluation", content) == []


def test_missing_tests_and_models_need_a_reason() -> None:
    content = evaluation_document()
    entry = content["incremental_value"]["age + sex"]
    entry["likelihood_ratio_test"] |= {"p": None}
    assert _faults("evaluation", content)
    entry["likelihood_ratio_test"]["reason"] = "no model"
    assert _faults("evaluation", content) == []
    del entry["joined_auc"]
    assert _faults("evaluation", content)
    entry["reason"] = "no joined model"
    assert _faults("evaluation", content) == []


@each_document
def test_no_property_is_without_a_description(document: str) -> None:
    silent = [
        kind
        for kind, written in _kinds(document).items()
        if not kind or kind[-1] != "*"
        if len(_merged(document, written).get("description", "")) < 5
    ]
    assert silent == []


@each_document
def test_every_key_of_a_document_is_described(document: str) -> None:
    places = list(_places(document, MAKERS[document]()))
    assert len(places) > 1000
    for kind, path, _ in places:
        own = _merged(document, _kinds(document)[kind]).get("description", "")
        assert describe(document, path).startswith(own)


@each_document
def test_the_documents_of_these_tests_hold_all_that_a_schema_describes(document: str) -> None:
    """What no document has would be described unseen."""
    missing = _kinds(document).keys() - _examples(document).keys()
    rare = {"reason", "reasons", "note"}
    assert {kind for kind in missing if not rare & set(kind)} == set()


def test_what_a_place_is_comes_from_the_nearest_word() -> None:
    assert describe("evaluation", ("patient", "auc")).startswith("Area under the ROC curve")
    assert describe("evaluation", ("patient", "auc", "ci_low")).startswith("Lower limit")
    assert describe("evaluation", ("baselines", "any name", "mcnemar", "per_repeat", 7, "repeat"))
    assert "p value" in describe("evaluation", ("baselines", "age", "auc_difference", "p"))
    assert describe_names("evaluation", ("baselines",)) == "Name of the baseline."
    assert describe("audit", ()) == schema_of("audit")["description"]


def test_unknown_places_and_documents_are_errors() -> None:
    with pytest.raises(KeyError, match="evaluation: patient/nonsense"):
        describe("evaluation", ("patient", "nonsense"))
    with pytest.raises(KeyError, match="evaluation: n_patients/0"):
        describe("evaluation", ("n_patients", 0))
    with pytest.raises(KeyError, match="no names"):
        describe_names("evaluation", ("patient",))
    with pytest.raises(ValueError, match="manifest"):
        schema_text("manifest")


def test_a_caller_cannot_change_the_schema() -> None:
    schema_of("audit")["properties"].clear()
    assert schema_of("audit")["properties"]
    assert describe("audit", ("checks",))


def test_both_schemas_mean_the_same_by_an_estimate() -> None:
    first, second = (schema_of(document)["$defs"] for document in DOCUMENTS)
    shared = first.keys() & second.keys()
    assert shared >= {"Estimate", "Proportion", "Difference"}
    assert {name: first[name] for name in shared} == {name: second[name] for name in shared}


def test_a_copy_is_what_the_makers_give() -> None:
    changed = copy.deepcopy(evaluation_document())
    changed["patient"].clear()
    assert evaluation_document()["patient"]
