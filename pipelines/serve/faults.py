"""Errors of the service as JSON with what, where, found, expected and remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from mri_transfer.errors import MriTransferError

__all__ = ["FAULT_SCHEMA", "Refusal", "refusal_of", "refuse"]

_FIELDS = ("what", "where", "found", "expected", "remedy")

#: The JSON schema of every response that is not a prediction.
FAULT_SCHEMA = {
    "type": "object",
    "description": "Why a request was refused, and how to fix it.",
    "required": list(_FIELDS),
    "additionalProperties": False,
    "properties": {
        name: {"type": "string" if name == "what" else ["string", "null"]} for name in _FIELDS
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """A refused request; plain values only, to be passed between processes."""

    status: int
    what: str
    where: str | None = None
    found: str | None = None
    expected: str | None = None
    remedy: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


def refusal_of(error: MriTransferError, *, status: int, where: str, hidden: str) -> Refusal:
    """Convert an error to a refusal without paths of the server.

    Parameters
    ----------
    error : MriTransferError
    status : int
    where : str
        Name of the scan, instead of its path.
    hidden : str
        The path to replace in all texts.
    """

    def clean(text: str | None) -> str | None:
        return None if text is None else text.replace(hidden, "the upload")

    return Refusal(
        status=status,
        what=clean(error.what) or "",
        where=where,
        found=clean(error.found),
        expected=clean(error.expected),
        remedy=clean(error.remedy),
    )


def refuse(refusal: Refusal) -> Response:
    """Return the response for a refusal."""
    content = {name: getattr(refusal, name) for name in _FIELDS}
    return JSONResponse(content, status_code=refusal.status, headers=dict(refusal.headers))
