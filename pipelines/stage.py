"""What every stage is, and the one way a stage is run: skip what is current, record the rest."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipelines.config import RunConfig
from pipelines.record import StageRecord, file_digests, recorded_specs
from pipelines.scan_index import scan_digests
from pipelines.trust import Ledger
from pipelines.unsettled import unchanged
from pipelines.workspace import Workspace

__all__ = ["Context", "Reporter", "Stage", "StageResult", "demand_trusted", "run_stage"]

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
    """

    name: str
    inputs: Callable[[Workspace], list[tuple[Path, str]]]
    specs: Callable[[RunConfig], dict[str, Any]]
    work: Callable[[Context], StageResult]
    intact: Callable[[Workspace], bool] = lambda _workspace: True
    caches: Callable[[RunConfig], tuple[str, ...]] = lambda _config: ()
    reads_scans: bool = False
    excluded: Callable[[Workspace], Path] = lambda workspace: workspace.excluded


def run_stage(stage: Stage, context: Context, *, force: bool = False) -> tuple[StageRecord, bool]:
    """Run a stage unless its record still holds.

    Its own outputs are made again where they were edited or are stale; those of the stages before
    it are refused.

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

    Raises
    ------
    RunFolderError
        If what it reads is missing, was edited, or is stale.
    """
    workspace, config = context.workspace, context.config
    ledger = demand_trusted(context, stage.inputs(workspace), caches=stage.caches(config))
    inputs = [path for path, _ in stage.inputs(workspace)]
    earlier = StageRecord.read(workspace, stage.name)
    mismatches = ledger.own(stage)
    # What broke off work on a scan says nothing of the scan: it is tried again.
    current = earlier is not None and not mismatches and unchanged(earlier.unsettled)
    if earlier is not None and current and not force and stage.intact(workspace):
        return earlier, False
    if mismatches and workspace.record(stage.name).exists():
        more = f", and {len(mismatches) - 1} more" if len(mismatches) > 1 else ""
        context.reporter.note(f"made again: {mismatches[0].text}{more}")
    started = datetime.datetime.now(datetime.UTC)
    clock = time.perf_counter()
    # A record must never describe files that are being replaced.
    workspace.record(stage.name).unlink(missing_ok=True)
    digests = file_digests(workspace, inputs)
    scans = scan_digests(workspace) if stage.reads_scans else None
    result = stage.work(context)
    record = StageRecord(
        stage=stage.name,
        inputs=digests,
        outputs=file_digests(workspace, result.outputs),
        specs=recorded_specs(config.seed, stage.specs(config)),
        seed=config.seed,
        seconds=round(time.perf_counter() - clock, 3),
        started=started.isoformat(timespec="seconds"),
        exclusions=result.exclusions,
        scans=scans,
        unsettled=result.unsettled,
    )
    record.write(workspace)
    context.reporter.note(result.summary)
    return record, True


def demand_trusted(
    context: Context, files: Sequence[tuple[Path, str]], *, caches: Sequence[str] = ()
) -> Ledger:
    """Refuse files of a run folder that are missing, edited or stale; make lost entries again.

    Parameters
    ----------
    context : Context
    files : sequence of (Path, str)
        Each with the stage that makes it.
    caches : sequence of str
        The stages whose entries of the cache will be read: those that are lost or damaged are
        made again, which changes no file of the run folder.

    Raises
    ------
    RunFolderError
        Naming what is wrong and the command that mends it.
    """
    # The stages import this module.
    from pipelines.runner import stage_named

    workspace, config = context.workspace, context.config
    ledger = Ledger(workspace, config)
    ledger.demand(files)
    lost = [maker for maker in map(stage_named, caches) if not maker.intact(workspace)]
    for maker in lost:
        context.reporter.note(
            f"{maker.name}: what the cache ({workspace.cache}) has lost is made again"
        )
        run_stage(maker, context, force=True)
    if lost:
        ledger = Ledger(workspace, config)
        ledger.demand(files)
    return ledger
