"""dry run: what `mri-transfer run` would do, and about how long it would take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
from pipelines.config import RunConfig
from pipelines.estimates import PlannedWork, estimate_lines, estimate_stages
from pipelines.plan.order import STAGES, stage_named
from pipelines.pool import workers_of
from pipelines.preflight import demand_possible
from pipelines.record import StageRecord
from pipelines.runner import demand_same
from pipelines.stage import Stage
from pipelines.trunk_weights import demand_weights, with_weights_of
from pipelines.trust import Ledger
from pipelines.unsettled import unchanged
from pipelines.workspace import Workspace, default_cache

__all__ = ["dry_run_lines"]

_NEW = "would run"


def dry_run_lines(
    manifest: Path,
    out: Path,
    config: RunConfig,
    stages: Sequence[Stage],
    *,
    cache: Path | None = None,
    weights: Path | None = None,
    overwrite: bool = False,
    force_from: str | None = None,
    jobs: int | None = None,
) -> Iterator[str]:
    """Yield lines on what a run would do; nothing is written.

    What would end the run at once is an error here too.

    Parameters
    ----------
    manifest, out : Path
    config : RunConfig
    stages : sequence of Stage
    cache, weights : Path, optional
    overwrite : bool
    force_from : str, optional
    jobs : int, optional
        As of `mri-transfer run`.
    """
    workspace = Workspace(root=out, cache=cache or default_cache())
    cohort = read_manifest(manifest)
    demand_possible(cohort, config)
    config = with_weights_of(workspace, config)
    if not overwrite:
        demand_same(workspace, config, cohort)
    demand_weights(workspace, config, weights)
    reasons = _reasons(workspace, config, stages, cohort, force_from)
    todo = [stage for stage in stages if stage.name in reasons]
    if all(reasons.get(stage.name) == _NEW for stage in stages):
        yield "nothing is there yet: every stage would run"
    else:
        for stage in stages:
            yield f"{stage.name:<10} {reasons.get(stage.name, 'current, nothing to do')}"
    if not todo:
        return
    work = PlannedWork(
        config=config,
        n_scans=len(cohort.scans),
        n_patients=cohort.scans["patient_id"].nunique(),
        cache=workspace.cache,
        workers=workers_of(jobs),
    )
    yield ""
    yield (
        f"{work.n_scans} scans of {work.n_patients} patients, {work.workers} "
        f"{'worker' if work.workers == 1 else 'workers'}:"
    )
    yield from estimate_lines(estimate_stages(work, todo))


def _reasons(
    workspace: Workspace,
    config: RunConfig,
    stages: Sequence[Stage],
    cohort: Manifest,
    force_from: str | None,
) -> dict[str, str]:
    """Return why each stage would run; current stages are not in it."""
    ledger = Ledger(workspace, config, STAGES)
    first = None if force_from is None else STAGES.index(stage_named(force_from))
    changed = _is_another_cohort(workspace, cohort)
    reasons: dict[str, str] = {}
    for stage in stages:
        before = [one.name for one in stage.after if one.name in reasons]
        mismatches = ledger.own(stage)
        record = StageRecord.read(workspace, stage.name)
        if record is None:
            reasons[stage.name] = _NEW
        elif changed and stage is STAGES[0]:
            reasons[stage.name] = "would run again: another manifest"
        elif mismatches:
            reasons[stage.name] = f"would run again: {mismatches[0].text}"
        elif first is not None and STAGES.index(stage) >= first:
            reasons[stage.name] = "would run again: --from"
        elif before:
            reasons[stage.name] = f"would run again if {before[0]} gives other results"
        elif not unchanged(record.unsettled):
            reasons[stage.name] = "would run again: scans that failed may be readable now"
        elif not stage.intact(workspace):
            reasons[stage.name] = "would run again: entries are missing from the cache"
    return reasons


def _is_another_cohort(workspace: Workspace, cohort: Manifest) -> bool:
    if not workspace.source_manifest.is_file():
        return True
    begun = read_manifest(workspace.source_manifest, check_files=False)
    return not begun.scans.equals(cohort.scans)
