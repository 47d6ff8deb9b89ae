"""Wording shared by the readers' notes."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "listed"]

_SHOWN = 10


def listed(names: Sequence[str], *, shown: int = _SHOWN) -> str:
    """Return the first names, separated by commas, and the number of further ones."""
    more = "" if len(names) <= shown else f" and {len(names) - shown} more"
    return ", ".join(names[:shown]) + more


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return the number with its noun: 1 scan, 2 scans."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
