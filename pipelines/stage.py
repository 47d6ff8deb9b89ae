"""What every stage is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipelines.config import RunConfig
from pipelines.workspace import Workspace

__all__ = [
    "Context",
    "Reporter",
    "Stage",
    "StageResult",
    "earlier_stages",
]

Item = TypeVar("Item")


class Reporter(Protocol):
    """Where progress goes: a bar on a terminal, plain lines in a log, or nowhere."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield items while showing how many are done."""
        ...

    def counter(self, what: str) -> Callable[[int, int], None]:
        """Return a function that shows done and total."""
        ...

    def heading(self, text: str) -> None:
        """Show which stage begins."""
        ...

    def note(self, text: str) -> None:
        """Show a line."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What a stage may use."""

    workspace: Workspace
    config: RunConfig
    reporter: Reporter
    weights: Path | None = None
    """A file to read the trunk's weights from."""
    jobs: int | None = None
    """Scans prepared at the same time; None: as many as cores and memory allow."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a stage left behind."""

    outputs: list[Path]
    summary: str
    exclusions: int = 0
    unsettled: dict[str, str] = dataclasses.field(default_factory=dict)
    """Scans whose exclusion a later run may take back: see `pipelines.unsettled`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A named step: files in, one library call, files out.

    Attributes
    ----------
    name : str
        The command's name.
    inputs : callable
        The files of the run folder that it reads; missing ones are an error that says which
        stage makes them.
    specs : callable
        The settings that shape what it writes. Together with the inputs they decide whether an
        earlier result is still current.
    work : callable
        Does it.
    intact : callable
        Whether what the outputs point to in the cache is there and can be trusted.
    caches : callable
        The stages whose entries of the cache it reads.
    reads_scans : bool
        Whether it reads the source scans, so that one that has changed makes it stale.
    excluded : callable
        The table of scans that are left out once this stage has run.
    after : tuple of Stage
        The stages whose outputs it reads.
    """

    name: str
    inputs: Callable[[Workspace], list[tuple[Path, str]]]
    specs: Callable[[RunConfig], dict[str, Any]]
    work: Callable[[Context], StageResult]
    intact: Callable[[Workspace], bool] = lambda _workspace: True
    caches: Callable[[RunConfig], tuple[str, ...]] = lambda _config: ()
    reads_scans: bool = False
    excluded: Callable[[Workspace], Path] = lambda workspace: workspace.excluded
    after: tuple[Stage, ...] = ()


def earlier_stages(stage: Stage) -> tuple[Stage, ...]:
    """Return all stages that a stage rests on, each after those it reads from."""
    found = [earlier for one in stage.after for earlier in (*earlier_stages(one), one)]
    return tuple({one.name: one for one in found}.values())
