"""The published form of documents: JSON schemas, draft 2020-12.

The schemas are the data dictionary of the documents: every property has a description in
words. `describe` finds the one that belongs to a place in a document.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

__all__ = ["DOCUMENTS", "describe", "describe_names", "schema_of", "schema_text"]

#: Documents that have a schema.
DOCUMENTS = ("evaluation", "audit")

#: Documents that have a schema too, but nest to any depth or become no tables: `describe` knows
#: nothing of their places.
NESTED = ("aggregate", "explanation", "external", "report")


def schema_text(document: str) -> str:
    """Return the schema of a document, such as `evaluation` or `report`, as it is published.

    Raises
    ------
    ValueError
        If there is no such document.
    """
    known = (*DOCUMENTS, *NESTED)
    if document not in known:
        raise ValueError(f"no schema of {document!r}; there are those of {', '.join(known)}")
    return files(__name__).joinpath(f"{document}.schema.json").read_text(encoding="utf-8")


def schema_of(document: str) -> dict[str, Any]:
    """Return the schema of a document, parsed; the caller may change it."""
    schema: dict[str, Any] = json.loads(schema_text(document))
    return schema


def describe(document: str, path: Sequence[str | int]) -> str:
    """Return what a place in a document is.

    Parameters
    ----------
    document : {'evaluation', 'audit'}
    path : sequence of str or int
        Keys of objects and positions in lists, from the root.

    Raises
    ------
    KeyError
        If the schema does not know the place.
    """
    return _description(_find(document, tuple(path)), _parsed(document))


def describe_names(document: str, path: Sequence[str | int]) -> str:
    """Return what the keys of an object are whose keys are names, such as those of baselines.

    Raises
    ------
    KeyError
        If the schema does not know the place, or its keys are fixed.
    """
    names = _keyword(_find(document, tuple(path)), "propertyNames", _parsed(document))
    if names is None:
        raise KeyError(f"the keys of {_place(document, path)} are no names")
    return str(names["description"])


@functools.cache
def _parsed(document: str) -> dict[str, Any]:
    return schema_of(document)


def _find(document: str, path: tuple[str | int, ...]) -> dict[str, Any]:
    schema = _parsed(document)
    node = schema
    for key in path:
        child = _child(node, key, schema)
        if child is None:
            raise KeyError(f"the schema does not know {_place(document, path)}")
        node = child
    return node


def _place(document: str, path: Sequence[str | int]) -> str:
    return f"{document}: {'/'.join(map(str, path))}"


def _chain(node: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a node and what it refers to, the nearest first; of a choice what is not null."""
    yield node
    for one in node.get("anyOf", ()):
        yield from _chain(one, schema)
    if "$ref" in node:
        yield from _chain(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)


def _keyword(node: dict[str, Any], keyword: str, schema: dict[str, Any]) -> Any:
    return next((one[keyword] for one in _chain(node, schema) if keyword in one), None)


def _description(node: dict[str, Any], schema: dict[str, Any]) -> str:
    return str(_keyword(node, "description", schema) or "")


def _child(node: dict[str, Any], key: str | int, schema: dict[str, Any]) -> dict[str, Any] | None:
    if isinstance(key, int):
        items: dict[str, Any] | None = _keyword(node, "items", schema)
        # What a plain value of a list is says the list.
        if items is not None and not _description(items, schema):
            return {**items, "description": _description(node, schema)}
        return items
    # A reference narrows what it refers to: the description stands where the property is made.
    known = [
        one["properties"][key] for one in _chain(node, schema) if key in one.get("properties", ())
    ]
    for child in known:
        if _description(child, schema):
            return dict(child)
    others = _keyword(node, "additionalProperties", schema)
    if isinstance(others, dict) and not _description(others, schema):
        return {**others, "description": _description(node, schema)}
    return others if isinstance(others, dict) else None
