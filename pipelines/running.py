"""The one way a stage is run: skip what is current, refuse what is not trusted, record the rest."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.record import StageRecord, file_digests, recorded_specs
from pipelines.scan_index import scan_digests
from pipelines.stage import Context, Stage, earlier_stages
from pipelines.trust import Ledger
from pipelines.unsettled import unchanged

__all__ = ["demand_trusted", "run_stage"]


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
    ledger = demand_trusted(
        context, stage.inputs(workspace), stages=earlier_stages(stage), caches=stage.caches(config)
    )
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
    context: Context,
    files: Sequence[tuple[Path, str]],
    *,
    stages: Sequence[Stage],
    caches: Sequence[str] = (),
) -> Ledger:
    """Refuse files of a run folder that are missing, edited or stale; make lost entries again.

    Parameters
    ----------
    context : Context
    files : sequence of (Path, str)
        Each with the stage that makes it.
    stages : sequence of Stage
        Those stages and all before them, in their order.
    caches : sequence of str
        The stages whose entries of the cache will be read: those that are lost or damaged are
        made again, which changes no file of the run folder.

    Raises
    ------
    RunFolderError
        Naming what is wrong and the command that mends it.
    """
    workspace, config = context.workspace, context.config
    ledger = Ledger(workspace, config, stages)
    ledger.demand(files)
    lost = [maker for maker in stages if maker.name in caches and not maker.intact(workspace)]
    for maker in lost:
        context.reporter.note(
            f"{maker.name}: what the cache ({workspace.cache}) has lost is made again"
        )
        run_stage(maker, context, force=True)
    if lost:
        ledger = Ledger(workspace, config, stages)
        ledger.demand(files)
    return ledger
