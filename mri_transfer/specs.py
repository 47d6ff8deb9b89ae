"""What every Spec shares: frozen, strict, hashable, written the same way everywhere."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from pydantic import ConfigDict

__all__ = ["STRICT", "canonical_json", "digest", "spec_dict"]

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
