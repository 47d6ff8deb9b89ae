"""The console that commands write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["open_console"]


def open_console() -> Console:
    """Return the standard output: no line is broken, nothing is coloured but what is meant."""
    from rich.console import Console

    return Console(soft_wrap=True, highlight=False)
