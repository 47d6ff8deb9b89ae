"""Reporters: a progress bar with the remaining time on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pipelines.stage import Item, Reporter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["SilentReporter", "reporter_for"]

#: Seconds between two lines of progress in a log.
_LOG_EVERY_S = 15.0


class SilentReporter:
    """No output, for calls from Python and for `--quiet`."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield the items."""
        yield from items

    def counter(self, what: str) -> Callable[[int, int], None]:
        """Return a function that does nothing."""
        return lambda _done, _total: None

    def heading(self, text: str) -> None:
        """Ignore the heading."""

    def note(self, text: str) -> None:
        """Ignore the line."""

    def detail(self, text: str) -> None:
        """Ignore the line."""


class LogReporter:
    """Plain lines, a few per minute.

    Parameters
    ----------
    console : Console
    verbose : bool
        Whether to show details.
    """

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield items, and log the progress from time to time."""
        count = self.counter(what)
        for done, item in enumerate(items, start=1):
            yield item
            count(done, total)

    def counter(self, what: str) -> Callable[[int, int], None]:
        """Return a function that writes a line every few seconds and at the end."""
        begin = time.monotonic()
        last = [begin]

        def show(done: int, total: int) -> None:
            now = time.monotonic()
            if done < total and now - last[0] < _LOG_EVERY_S:
                return
            last[0] = now
            left = (now - begin) / max(done, 1) * (total - done)
            self.note(f"{what}: {done}/{total}" + (f", about {left:.0f} s left" if left else ""))

        return show

    def heading(self, text: str) -> None:
        """Write the stage's name in bold."""
        self._console.print(text, style="bold", markup=False, highlight=False)

    def note(self, text: str) -> None:
        """Write a line."""
        self._console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)

    def detail(self, text: str) -> None:
        """Write a line if details are wanted."""
        if self._verbose:
            self._console.print(
                f"  {text}", style="dim", markup=False, highlight=False, soft_wrap=True
            )


class TerminalReporter(LogReporter):
    """A progress bar with the remaining time."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield items under a bar."""
        with self._bar() as bar:
            yield from bar.track(items, total=total, description=f"  {what}")

    def counter(self, what: str) -> Callable[[int, int], None]:
        """Return a function that updates a bar."""
        bar = self._bar()
        task = bar.add_task(f"  {what}", total=None)

        def show(done: int, total: int) -> None:
            bar.start()
            bar.update(task, completed=done, total=total)
            if done >= total:
                bar.stop()

        return show

    def _bar(self) -> Progress:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )


def reporter_for(console: Console, *, verbose: bool | None = None) -> Reporter:
    """Return the reporter for a terminal or a log.

    Parameters
    ----------
    console : Console
    verbose : bool, optional
        True for details, False for nothing at all, None for progress and a line per stage.
    """
    if verbose is False:
        return SilentReporter()
    kind = TerminalReporter if console.is_terminal else LogReporter
    return kind(console, verbose=bool(verbose))
