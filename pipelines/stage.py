"""Stages of the pipeline: their definition, context and result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipelines.config import RunConfig
from pipelines.engines.choice import executor_for
from pipelines.engines.executor import Executor
from pipelines.shards import Shard
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
    """Output of progress: a bar on a terminal, plain lines in a log, or none."""

    def track(self, items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
        """Yield items and show the progress."""
        ...

    def counter(self, what: str) -> Callable[[int, int], None]:
        """Return a function that shows the number of finished items and the total."""
        ...

    def heading(self, text: str) -> None:
        """Show the name of a stage that begins."""
        ...

    def note(self, text: str) -> None:
        """Show a line."""
        ...

    def detail(self, text: str) -> None:
        """Show a line that only `--verbose` and the log ask for."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """The context in which a stage runs."""

    workspace: Workspace
    config: RunConfig
    reporter: Reporter
    weights: Path | None = None
    """A file with the trunk's weights."""
    jobs: int | None = None
    """Number of scans, or of fits, processed in parallel; None: as cores and memory allow."""
    shard: Shard | None = None
    """The part of a cohort that the run folder is of; None: the whole cohort."""

    def executor(self, *, gpus: bool = False) -> Executor:
        """Return what does the work on single scans and fits.

        Parameters
        ----------
        gpus : bool
            Whether the work uses the GPUs that the settings ask for.
        """
        return executor_for(
            self.config.executor,
            cache=self.workspace.cache,
            note=self.reporter.note,
            jobs=self.jobs,
            gpus=gpus,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageResult:
    """The result of a stage."""

    outputs: list[Path]
    summary: str
    exclusions: int = 0
    unsettled: dict[str, str] = dataclasses.field(default_factory=dict)
    """Scans whose exclusion a later run may revise: see `pipelines.unsettled`."""
    computed: int | None = None
    """Scans that were computed, not found in the cache; None for work on patients."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A named step that reads files, calls the library and writes files.

    Attributes
    ----------
    name : str
        The command's name.
    inputs : callable
        The files of the run folder that it reads, each with the stage that writes it.
    specs : callable
        The settings that affect its outputs. Together with the inputs they determine whether
        earlier results are still current.
    work : callable
        Does the work.
    intact : callable
        Whether the cache entries that its outputs refer to exist and are valid.
    caches : callable
        The stages whose cache entries it reads.
    reads_scans : bool
        Whether it reads the source scans, so that a changed scan makes it stale.
    excluded : callable
        The table of excluded scans after this stage.
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
    """Return all stages that a stage depends on, in topological order."""
    before = [earlier for direct in stage.after for earlier in (*earlier_stages(direct), direct)]
    return tuple({earlier.name: earlier for earlier in before}.values())
