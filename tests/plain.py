"""Results as the values of JSON that they become, for tests of what a file holds."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter


def plain(result: Any) -> Any:
    """Return a result, or a tuple of them, as dicts, lists, numbers and texts."""
    if isinstance(result, tuple):
        return [plain(one) for one in result]
    if isinstance(result, dict):
        return {name: plain(one) for name, one in result.items()}
    if dataclasses.is_dataclass(result):
        return TypeAdapter(type(result)).dump_python(result, mode="json")
    return result.model_dump(mode="json")
