"""Foundations of Specs: frozen, strict, hashable, with one canonical serialisation."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from pydantic import ConfigDict, ValidationError

__all__ = ["STRICT", "canonical_json", "digest", "spec_dict", "suggestion", "validation_message"]

#: Pydantic configuration of every Spec: unknown keys are errors, no silent coercion from strings.
STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=False, use_attribute_docstrings=True)

#: Values of settings that had another name in an earlier version.
_RENAMED = {"published": "mlp"}


def spec_dict(spec: Any) -> dict[str, Any]:
    """Return a Spec as plain nested dicts, lists, numbers and strings."""
    return dataclasses.asdict(spec)


def canonical_json(value: Any) -> str:
    """Return canonical JSON: sorted keys, no whitespace, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a value's canonical JSON; the key of content-addressed stores."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``Did you mean X? `` for the most similar known word, or an empty string."""
    original = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), original, n=1, cutoff=0.6)
    return f"Did you mean {original[near[0]]}? " if near else ""


def validation_message(
    error: ValidationError, *, of: str, model: Any = None, unnamed: Collection[str] = ()
) -> str:
    """Describe a Spec's validation errors for the user.

    Parameters
    ----------
    error : ValidationError
    of : str
        Name of the settings, such as ``configuration``.
    model : type, optional
        The Spec, or a union of Specs; its settings are suggested for misspelt names.
    unnamed : collection of str
        Parts of a setting's location that no file contains: the tags of unions.

    Returns
    -------
    str
        The number of faults, and each of them on its own line.
    """
    lines = list(_fault_lines(error, f"the {of}", model, unnamed))
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    return "\n".join([f"{count} in the {of}", *(f"  - {line}" for line in lines)])


def _fault_lines(
    error: ValidationError, whole: str, model: Any, unnamed: Collection[str]
) -> Iterator[str]:
    for fault in error.errors():
        setting = ".".join(str(part) for part in fault["loc"] if part not in unnamed) or whole
        if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            *section, name = fault["loc"]
            near = _near_setting(model, section, str(name))
            yield f"{setting}: no such setting" + (f". {near.strip()}" if near else "")
            continue
        is_ours = fault["type"] == "value_error"
        message = fault["ctx"]["error"] if is_ours else fault["msg"]
        # A whole section is not repeated: the message describes what is wrong with it.
        is_value = isinstance(fault["input"], str | int | float | list | tuple)
        found = f" (found {fault['input']!r})" if is_value else ""
        near = _near_value(fault)
        yield f"{setting}: {message}{found}" + (f". {near.strip()}" if near else "")


def _near_value(fault: Mapping[str, Any]) -> str:
    """Suggest an allowed value that is similar to the one found."""
    context = fault.get("ctx") or {}
    values = re.findall(r"'([^']*)'", str(context.get("expected") or context.get("expected_tags")))
    word = context.get("tag", fault["input"])
    if not isinstance(word, str):
        return ""
    return f"It is now called {_RENAMED[word]}. " if word in _RENAMED else suggestion(word, values)


def _settings_of(types: Sequence[Any]) -> list[str]:
    return [field.name for spec in types for field in dataclasses.fields(spec)]


def _near_setting(model: Any, section: Sequence[str | int], name: str) -> str:
    """Suggest settings of that name in other sections, else the most similar one here or there."""
    places: dict[str, list[str]] = {}
    for spec in _specs_in(model):
        for field in dataclasses.fields(spec):
            for inner in _settings_of(_type_at(spec, [field.name])):
                full = f"{field.name}.{inner}"
                if full not in places.setdefault(inner, []):
                    places[inner].append(full)
    if name in places:
        return f"Did you mean {' or '.join(places[name])}? "
    here = suggestion(name, _settings_of(_type_at(model, section)))
    there = difflib.get_close_matches(name, places, n=1, cutoff=0.8)
    return here or (f"Did you mean {' or '.join(places[there[0]])}? " if there else "")


def _type_at(model: Any, location: Sequence[str | int]) -> list[Any]:
    """Return the possible Specs at a location in the settings; none if unknown."""
    specs = [*_specs_in(model)]
    for part in location:
        tagged = [spec for spec in specs if getattr(spec, "kind", None) == part]
        inner = [
            hint
            for spec in specs
            for name, hint in get_type_hints(spec, include_extras=True).items()
            if name == part
        ]
        specs = tagged or [spec for hint in inner for spec in _specs_in(hint)]
    return specs


def _specs_in(hint: Any) -> Iterator[Any]:
    """Yield the Specs in a type: members of unions, items of lists and mappings."""
    if dataclasses.is_dataclass(hint):
        yield hint
    for part in get_args(hint):
        yield from _specs_in(part)
