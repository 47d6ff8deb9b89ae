"""Write the JSON schemas of the documents from their models: ``make schemas``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from mri_transfer.core.documents import Document
from mri_transfer.core.files import atomic_write_text
from mri_transfer.evaluation.audit.document import AuditDocument
from mri_transfer.evaluation.document import EvaluationDocument
from mri_transfer.evaluation.external.aggregate_document import AggregateDocument
from mri_transfer.evaluation.external.document import ExternalDocument
from mri_transfer.explain.document import ExplanationDocument
from mri_transfer.report.blocks.report import Report

__all__ = ["MODELS", "generated_text"]

#: The model of each document.
MODELS: dict[str, type[Document]] = {
    "evaluation": EvaluationDocument,
    "audit": AuditDocument,
    "explanation": ExplanationDocument,
    "external": ExternalDocument,
    "aggregate": AggregateDocument,
    "report": Report,
}

#: The mark of a field that is left out of the file where there is nothing.
_ABSENT = "serialization_exclude_if"
#: Characters of a line.
_WIDTH = 100


class _Generator(GenerateJsonSchema):
    """Schemas as a data dictionary: no titles, null as a type, absent keys optional."""

    def generate(
        self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "serialization"
    ) -> JsonSchemaValue:
        return {"$schema": self.schema_dialect, **super().generate(schema, mode)}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if isinstance(inner.get("type"), str) and "enum" not in inner:
            return {**inner, "type": [inner["type"], "null"]}
        return {"anyOf": [inner, {"type": "null"}]}

    def field_is_required(self, field: Any, total: bool) -> bool:
        return _ABSENT not in field

    def model_field_schema(self, schema: core_schema.ModelField) -> JsonSchemaValue:
        return super().model_field_schema(_never_null(schema))

    def dataclass_field_schema(self, schema: core_schema.DataclassField) -> JsonSchemaValue:
        return super().dataclass_field_schema(_never_null(schema))

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return _without_title(super().model_schema(schema))

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return _without_title(super().dataclass_schema(schema))


def _without_title(found: JsonSchemaValue) -> JsonSchemaValue:
    plain = {key: value for key, value in found.items() if key != "title"}
    if "description" in plain:
        plain["description"] = " ".join(plain["description"].split())
    for one in plain.get("properties", {}).values():
        if "description" in one:
            one["description"] = " ".join(one["description"].split())
    return plain


def _never_null(field: Any) -> Any:
    """Return a field that is left out where it is None, as what it is where it is there."""
    inner = field["schema"]
    if _ABSENT not in field:
        return field
    while inner["type"] in ("default", "nullable"):
        inner = inner["schema"]
    return {**field, "schema": inner}


def generated_text(document: str) -> str:
    """Return the schema of a document as its model has it, in the text of its file."""
    model = MODELS[document]
    schema = model.model_json_schema(mode="serialization", schema_generator=_Generator)
    room, name, version = model.SCHEMA.split("/")
    named = {"$id": f"urn:{room}:schema:{name}:{version}", "title": f"{name}.json of {room}"}
    return _pretty({**schema, **named}) + "\n"


def _pretty(value: Any, depth: int = 0) -> str:
    """Return JSON in which whatever fits into a line stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + 2 * depth <= _WIDTH or not isinstance(value, dict | list):
        return line
    inner, outer = "  " * (depth + 1), "  " * depth
    if isinstance(value, list):
        parts = [f"{inner}{_pretty(one, depth + 1)}" for one in value]
        return "[\n" + ",\n".join(parts) + f"\n{outer}]"
    parts = [f"{inner}{json.dumps(key)}: {_pretty(one, depth + 1)}" for key, one in value.items()]
    return "{\n" + ",\n".join(parts) + f"\n{outer}}}"


def main() -> None:
    """Write every schema beside this file."""
    for name in MODELS:
        atomic_write_text(Path(__file__).with_name(f"{name}.schema.json"), generated_text(name))


if __name__ == "__main__":
    main()
