"""The report for machines: everything shown, as one JSON document."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import unescape

from mri_transfer.core.files import write_json
from mri_transfer.report.blocks import document

__all__ = ["report_document", "write_machine"]

MACHINE_SCHEMA = "mri-transfer/report/1"

_BLOCKS = (
    document.Text,
    document.Bullets,
    document.Heading,
    document.Facts,
    document.Table,
    document.Figure,
    document.Picture,
    document.SliceSheet,
    document.Confusion,
    document.PatientPanels,
    document.Folded,
    document.Side,
)
_TITLE = re.compile(r"<title\b[^>]*>(.*?)</title>", re.DOTALL)


def report_document(report: document.Report) -> dict[str, Any]:
    """Return a report as plain values of JSON, in the order in which it is shown.

    Parameters
    ----------
    report : Report

    Returns
    -------
    dict
        As `schemas/report.schema.json` has it. A block has its kind as `type`. Of a drawing there
        are its numbers, its text alternative and the SHA-256 of its SVG; of a picture the SHA-256
        of its bytes. A number that is not finite is null; among `facts`, whose form is free, it is
        the text `nan`, `inf` or `-inf`.
    """
    return {"schema": MACHINE_SCHEMA, **_fields(report)}


def write_machine(report: document.Report, path: Path) -> None:
    """Write a report as JSON, the same bytes for the same report.

    Parameters
    ----------
    report : Report
    path : Path
        Usually `report/report.json` of a run; it appears whole or not at all.
    """
    write_json(path, report_document(report))


def alternative_text(svg: str) -> str:
    """Return the text alternative of a drawing: the title that its SVG carries, or nothing."""
    found = _TITLE.search(svg)
    return " ".join(unescape(found[1], {"&quot;": '"', "&#39;": "'"}).split()) if found else ""


def _fields(item: Any) -> dict[str, Any]:
    return {field.name: _plain(getattr(item, field.name)) for field in dataclasses.fields(item)}


def _plain(value: Any) -> Any:
    """Return a part of the tree as values of JSON."""
    if isinstance(value, document.Figure):
        shown = {**_fields(value), "alt": alternative_text(value.svg)}
        del shown["svg"]
        return {"type": "figure", **shown, "svg_sha256": _sha256(value.svg.encode())}
    if isinstance(value, document.Picture):
        shown = _fields(dataclasses.replace(value, content=b""))
        del shown["content"]
        return {"type": "picture", **shown, "sha256": _sha256(value.content)}
    if isinstance(value, document.Facts):
        return {"type": "facts", "title": value.title, "content": _free(value.content)}
    if isinstance(value, _BLOCKS):
        return {"type": _kind(value), **_fields(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    value = _scalar(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _free(value: Any) -> Any:
    """Return facts as values of JSON: nothing in them is lost, whatever its type."""
    if isinstance(value, Mapping):
        return {str(key): _free(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_free(one) for one in value]
    value = _scalar(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _scalar(value: Any) -> Any:
    # Scalars of NumPy look like Python's and are not known to JSON.
    value = value.item() if hasattr(value, "item") else value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _kind(block: object) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(block).__name__).lower()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
