"""The OpenAPI description: forms, answers and refusals, drawn from the types that carry them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from mri_transfer.bundle import Prediction
from pipelines.serve.faults import FAULT_SCHEMA
from pipelines.serve.uploads import FORM_SCHEMA

__all__ = ["complete", "predict_extra", "refusals"]

_REF = "#/components/schemas/{model}"
_WHY = {
    400: "The request cannot be read, or the service does not answer under this name.",
    401: "The token is missing or wrong.",
    403: "A page of another origin may not use the service.",
    405: "Another method is meant.",
    408: "The upload took too long.",
    413: "The request is too large.",
    415: "Not a form with a file.",
    422: "The scan, or a field of the form, cannot be used.",
    500: "The work on the scan failed.",
    503: "The service is busy; Retry-After says when to come again.",
    504: "The work on the scan took too long and was stopped.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how refusals of these statuses are described."""
    schema = {"$ref": _REF.format(model="Fault")}
    return {
        status: {"description": _WHY[status], "content": {"application/json": {"schema": schema}}}
        for status in statuses
    }


def predict_extra() -> dict[str, Any]:
    """Return how the form of POST /predict is described."""
    return {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": FORM_SCHEMA}},
        }
    }


def complete(document: dict[str, Any], *, token: bool) -> dict[str, Any]:
    """Add to an OpenAPI document what its routes refer to.

    Parameters
    ----------
    document : dict
        As FastAPI draws it; changed in place.
    token : bool
        Whether one is needed.
    """
    schema = TypeAdapter(Prediction).json_schema(ref_template=_REF, mode="serialization")
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    schemas.update(schema.pop("$defs", {}))
    schema["properties"] = {
        "schema": {"type": "string"},
        "use": {"type": "string"},
        **schema["properties"],
    }
    schemas["Prediction"] = schema
    schemas["Fault"] = FAULT_SCHEMA
    if token:
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path in ("/predict", "/version"):
            for operation in document["paths"][path].values():
                operation["security"] = [{"token": []}]
    return document
