"""What every Spec shares: frozen, strict, hashable, written the same way everywhere."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import ConfigDict, ValidationError

__all__ = ["STRICT", "canonical_json", "digest", "spec_dict", "validation_message"]

#: Pydantic configuration of every Spec: unknown keys are errors, no silent coercion from strings.
STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=False, use_attribute_docstrings=True)


def spec_dict(spec: Any) -> dict[str, Any]:
    """Return a Spec as plain nested dicts, lists, numbers and strings."""
    return dataclasses.asdict(spec)


def canonical_json(value: Any) -> str:
    """Return JSON that is the same text for the same value: sorted keys, no blanks, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a value's canonical JSON; the key of content-addressed stores."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def validation_message(error: ValidationError, *, of: str, unnamed: Collection[str] = ()) -> str:
    """Say in words what is wrong with settings that were to become a Spec.

    Parameters
    ----------
    error : ValidationError
    of : str
        What the settings are, such as ``configuration``.
    unnamed : collection of str
        Parts of a setting's place that no file spells out: the tags of unions.

    Returns
    -------
    str
        How many faults there are, and each of them on a line of its own.
    """
    lines = list(_fault_lines(error, f"the {of}", unnamed))
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    return "\n".join([f"{count} in the {of}", *(f"  - {line}" for line in lines)])


def _fault_lines(error: ValidationError, whole: str, unnamed: Collection[str]) -> Iterator[str]:
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"] if part not in unnamed) or whole
        if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            yield f"{place}: no such setting"
            continue
        is_ours = fault["type"] == "value_error"
        says = fault["ctx"]["error"] if is_ours else fault["msg"]
        # A whole section is not repeated: what is wrong with it stands in the message.
        is_value = isinstance(fault["input"], str | int | float | list | tuple)
        yield f"{place}: {says}" + (f" (found {fault['input']!r})" if is_value else "")
