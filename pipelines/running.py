"""Run a stage: skip it if it is current, verify its inputs, record its outputs."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Sequence
from pathlib import Path

from mri_transfer.core.threads import at_most_threads
from pipelines.console import duration
from pipelines.rates import keep_rate
from pipelines.record import StageRecord, file_digests, recorded_specs
from pipelines.scan_index import scan_digests
from pipelines.stage import Context, Stage, StageResult, earlier_stages
from pipelines.trust import Ledger, Mismatch
from pipelines.unsettled import unchanged

__all__ = ["demand_trusted", "run_stage"]


def run_stage(stage: Stage, context: Context, *, force: bool = False) -> tuple[StageRecord, bool]:
    """Run a stage unless its results are current.

    Its own outputs are recomputed if they were edited or are stale; edited or stale outputs of
    earlier stages are an error.

    Parameters
    ----------
    stage : Stage
    context : Context
    force : bool
        Run it even if its results are current.

    Returns
    -------
    record : StageRecord
    ran : bool
        False if the results were current.

    Raises
    ------
    RunFolderError
        If an input is missing, edited or stale.
    """
    workspace, config = context.workspace, context.config
    ledger = demand_trusted(
        context, stage.inputs(workspace), stages=earlier_stages(stage), caches=stage.caches(config)
    )
    inputs = [path for path, _ in stage.inputs(workspace)]
    earlier = StageRecord.read(workspace, stage.name)
    mismatches = ledger.own(stage)
    # Interrupted scans are tried again.
    current = earlier is not None and not mismatches and unchanged(earlier.unsettled)
    if earlier is not None and current and not force and stage.intact(workspace):
        return earlier, False
    context.reporter.detail(_why(mismatches, force=force))
    if mismatches and workspace.record(stage.name).exists():
        more = f", and {len(mismatches) - 1} more" if len(mismatches) > 1 else ""
        context.reporter.note(f"recomputed: {mismatches[0].text}{more}")
    started = datetime.datetime.now(datetime.UTC)
    clock = time.perf_counter()
    # A record must never describe files that are being replaced.
    workspace.record(stage.name).unlink(missing_ok=True)
    digests = file_digests(workspace, inputs)
    scans = scan_digests(workspace) if stage.reads_scans else None
    with at_most_threads(context.jobs):
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
    if config.executor.kind == "local":
        _keep_rate(stage, context, result, record.seconds)
    context.reporter.note(f"{result.summary} ({duration(record.seconds)})")
    return record, True


def _keep_rate(stage: Stage, context: Context, result: StageResult, seconds: float) -> None:
    """Keep how long the stage took, for estimates; a cache that is read-only keeps nothing."""
    from pipelines.indexes import read_index
    from pipelines.pool import workers_of

    workspace = context.workspace
    n = result.computed
    if n is None:
        n = read_index(workspace.manifest)["patient_id"].nunique()
    with contextlib.suppress(OSError):
        keep_rate(
            workspace.cache,
            stage,
            context.config,
            seconds=seconds,
            n=n,
            workers=workers_of(context.jobs),
        )


def _why(mismatches: Sequence[Mismatch], *, force: bool) -> str:
    """Return why a stage runs, with all that differs from its record."""
    if mismatches:
        return f"runs, since {'; '.join(mismatch.text for mismatch in mismatches)}"
    return f"runs, since {'it was asked for' if force else 'some of its results must be redone'}"


def demand_trusted(
    context: Context,
    files: Sequence[tuple[Path, str]],
    *,
    stages: Sequence[Stage],
    caches: Sequence[str] = (),
) -> Ledger:
    """Refuse files of a run folder that are missing, edited or stale; recompute lost cache entries.

    Parameters
    ----------
    context : Context
    files : sequence of (Path, str)
        Each with the stage that writes it.
    stages : sequence of Stage
        These stages and all earlier ones, in order.
    caches : sequence of str
        The stages whose cache entries will be read: lost or damaged ones are recomputed, which
        does not change the run folder.

    Raises
    ------
    RunFolderError
        Stating what is wrong and the command that fixes it.
    """
    workspace, config = context.workspace, context.config
    ledger = Ledger(workspace, config, stages)
    ledger.demand(files)
    lost = [stage for stage in stages if stage.name in caches and not stage.intact(workspace)]
    for stage in lost:
        context.reporter.note(
            f"{stage.name}: entries missing from the cache ({workspace.cache}) are recomputed"
        )
        run_stage(stage, context, force=True)
    if lost:
        ledger = Ledger(workspace, config, stages)
        ledger.demand(files)
    return ledger
