"""The console for the commands' output."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from mri_transfer.metrics.intervals import Estimate

__all__ = ["discard_unwritable_output", "duration", "estimate_text", "open_console"]

#: Exit code of a command whose output pipe was closed: the shell's code for SIGPIPE.
CLOSED_PIPE = 128 + 13


def open_console() -> Console:
    """Return a console on standard output, without line wrapping or automatic highlighting."""
    from rich.console import Console

    class Pipe(Console):
        """Ends the command quietly when its reader, such as `head`, exits."""

        def on_broken_pipe(self) -> None:
            self.quiet = True
            _close_output()
            raise SystemExit(CLOSED_PIPE)

    return Pipe(soft_wrap=True, highlight=False)


def discard_unwritable_output() -> None:
    """Discard what standard output cannot take, so that the exit code stays the command's own.

    Python flushes it once more at exit, and would end with code 120 where that fails.
    """
    try:
        sys.stdout.flush()
    except OSError:
        _close_output()


def _close_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def estimate_text(estimate: Estimate) -> str:
    """Return text such as '0.789 (0.707 to 0.853)', or why there is no value."""
    if estimate.value is None:
        return f"undefined: {estimate.reason}"
    if estimate.interval is None:
        return f"{estimate.value:.3f}"
    low, high = estimate.interval
    return f"{estimate.value:.3f} ({low:.3f} to {high:.3f})"


def duration(seconds: float) -> str:
    """Return a time such as `0.4 s`, `40 s`, `12 min` or `3.5 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
