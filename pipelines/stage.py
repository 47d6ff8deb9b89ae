"""What every stage is, and the one way a stage is run: skip what is current, record the rest."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipelines.config import RunConfig
from pipelines.record import StageRecord, file_digests
from pipelines.workspace import Workspace

__all__ = ["Context", "Reporter", "Stage", "StageResult", "run_stage"]

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
        Whether what the outputs point to in the cache is still there.
    excluded : callable
        The table of scans that are left out once this stage has run.
    """

    name: str
    inputs: Callable[[Workspace], list[tuple[Path, str]]]
    specs: Callable[[RunConfig], dict[str, Any]]
    work: Callable[[Context], StageResult]
    intact: Callable[[Workspace], bool] = lambda _workspace: True
    excluded: Callable[[Workspace], Path] = lambda workspace: workspace.excluded


def run_stage(stage: Stage, context: Context, *, force: bool = False) -> tuple[StageRecord, bool]:
    """Run a stage unless its record still holds.

    Parameters
    ----------
    stage : Stage
    context : Context
    force : bool
        Run it even if nothing has changed.

    Returns
    -------
    record : StageRecord
    ran : bool
        False if an earlier result was current.
    """
    workspace = context.workspace
    inputs = [workspace.demand(path, made_by=maker) for path, maker in stage.inputs(workspace)]
    specs = {"seed": context.config.seed, **stage.specs(context.config)}
    earlier = StageRecord.read(workspace, stage.name)
    if (
        earlier is not None
        and not force
        and earlier.holds(workspace, inputs=inputs, specs=specs)
        and stage.intact(workspace)
    ):
        return earlier, False
    started = datetime.datetime.now(datetime.UTC)
    clock = time.perf_counter()
    # A record must never describe files that are being replaced.
    workspace.record(stage.name).unlink(missing_ok=True)
    digests = file_digests(workspace, inputs)
    result = stage.work(context)
    record = StageRecord(
        stage=stage.name,
        inputs=digests,
        outputs=file_digests(workspace, result.outputs),
        specs=specs,
        seed=context.config.seed,
        seconds=round(time.perf_counter() - clock, 3),
        started=started.isoformat(timespec="seconds"),
        exclusions=result.exclusions,
        unsettled=result.unsettled,
    )
    record.write(workspace)
    context.reporter.note(result.summary)
    return record, True
