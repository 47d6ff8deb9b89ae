"""The console that commands write to."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mri_transfer.metrics.intervals import Estimate

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["CLOSED_PIPE", "estimate_text", "open_console"]

#: Exit code of a command whose reader has gone: what a shell tells of SIGPIPE.
CLOSED_PIPE = 128 + 13


def open_console() -> Console:
    """Return the standard output: no line is broken, nothing is coloured but what is meant."""
    from rich.console import Console

    class Pipe(Console):
        """Ends the command quietly when its reader, such as `head`, has gone."""

        def on_broken_pipe(self) -> None:
            self.quiet = True
            # Python must not try to flush to it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(CLOSED_PIPE)

    return Pipe(soft_wrap=True, highlight=False)


def estimate_text(estimate: Estimate) -> str:
    """Return '0.789 (0.707 to 0.853)', or why there is no value."""
    if estimate.value is None:
        return f"not defined: {estimate.reason}"
    if estimate.interval is None:
        return f"{estimate.value:.3f}"
    low, high = estimate.interval
    return f"{estimate.value:.3f} ({low:.3f} to {high:.3f})"
