"""The log of a run folder: `records/log.txt`, to which every command that works appends."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import shlex
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator

from mri_transfer.version import __version__
from pipelines.stage import Item, Reporter
from pipelines.workspace import Workspace

__all__ = ["logged"]


@contextlib.contextmanager
def logged(workspace: Workspace, reporter: Reporter) -> Iterator[LoggingReporter]:
    """Log what a reporter is told during the block, and the error that ends it, with its traceback.

    A command that has nothing to do leaves no trace. Folders that cannot be written to, such as
    archives, have no log.

    Parameters
    ----------
    workspace : Workspace
    reporter : Reporter
        Is told everything too.
    """
    log = LoggingReporter(workspace, reporter)
    try:
        yield log
    except BaseException:
        log.end(f"stopped by an error\n{traceback.format_exc()}")
        raise
    log.end("finished")


class LoggingReporter:
    """Passes everything on to another reporter, and writes headings and lines into the log.

    Parameters
    ----------
    workspace : Workspace
    reporter : Reporter
    """

    def __init__(self, workspace: Workspace, reporter: Reporter) -> None:
        self._path = workspace.log
        self._reporter = reporter
        self._begun = False
        self._stage = ""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield the items; only their number is logged."""
        yield from self._reporter.track(items, total=total, what=what)
        self._write(f"{what}: {total}")

    def counter(self, what: str) -> Callable[[int, int], None]:
        """Return the other reporter's function."""
        return self._reporter.counter(what)

    def heading(self, text: str) -> None:
        """Remember the stage, whose name precedes its lines."""
        self._stage = text
        self._reporter.heading(text)

    def note(self, text: str) -> None:
        """Show and log a line."""
        self._reporter.note(text)
        self._write(text)

    def detail(self, text: str) -> None:
        """Log a line, and show it if details are wanted."""
        self._reporter.detail(text)
        self._write(text)

    def unlogged(self, text: str) -> None:
        """Show a line that is not worth logging."""
        self._reporter.note(text)

    def end(self, text: str) -> None:
        """Log how a command ended, if it has logged anything."""
        self._stage = ""
        if self._begun:
            self._write(text)

    def _write(self, text: str) -> None:
        lines = [f"{self._stage}: {text}" if self._stage else text]
        if not self._begun:
            self._begun = True
            lines.insert(
                0,
                f"mri-transfer {__version__}, Python {platform.python_version()}, process "
                f"{os.getpid()} on {socket.gethostname()}: {shlex.join(sys.argv)}",
            )
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        # A log that cannot be written must not hide the error that it would tell of.
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{now} {line}\n" for line in "\n".join(lines).splitlines())
