"""Run stages in order on a run folder; the Python interface of the command."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mri_transfer.cohorts.exclusions import Exclusion, read_exclusions
from mri_transfer.cohorts.labels import demand_both_labels
from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
from mri_transfer.errors import ConfigurationError, ManifestError
from pipelines.config import RunConfig, read_config
from pipelines.instances import demand_source, source_config, source_workspace
from pipelines.lock import locked
from pipelines.log import logged
from pipelines.opening import write_config
from pipelines.plan.models import AUDIT
from pipelines.plan.order import STAGES, stage_named
from pipelines.plan.scans import CHECK, FEATURES, PREPARE, SLICES
from pipelines.record import StageRecord
from pipelines.reporters import SilentReporter
from pipelines.running import run_stage
from pipelines.settings import affects_results, changed_scans, changed_settings
from pipelines.shards import Shard
from pipelines.stage import Context, Reporter, Stage
from pipelines.trunk_weights import (
    demand_unseen,
    demand_weights,
    settle_weights,
    size_note,
    with_weights_of,
)
from pipelines.workspace import Workspace, default_cache

if TYPE_CHECKING:
    from mri_transfer.evaluation.audit.document import CheckResult

__all__ = [
    "RunOutcome",
    "begin_run",
    "demand_same",
    "run_pipeline",
]

#: Stages that write to the cache, which is checked before the first of them reads every scan.
_FILL_CACHE = frozenset(stage.name for stage in (CHECK, PREPARE, SLICES, FEATURES))
#: Stages that the source cohort of instances passes as well.
_OF_SOURCE = (CHECK, PREPARE, SLICES, FEATURES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """The outcome of a run."""

    workspace: Workspace
    records: tuple[StageRecord, ...]
    excluded: tuple[Exclusion, ...]
    excluded_table: Path
    """The file that lists them."""
    failed_checks: tuple[CheckResult, ...] = ()
    """Failed checks of the audit, if it was among the stages."""


def begin_run(
    manifest: Path,
    out: Path,
    config: RunConfig,
    *,
    cache: Path | None = None,
    overwrite: bool = False,
    shard: Shard | None = None,
) -> Workspace:
    """Set up a run folder: the resolved configuration and a copy of the manifest.

    Calling it again with the same arguments changes nothing.

    Parameters
    ----------
    manifest, out : Path
    config : RunConfig
        Checked against the manifest before anything is written.
    cache : Path, optional
        By default the user's cache folder.
    overwrite : bool
        Allow other settings, or another manifest, in an existing run folder: the stages that depend
        on them become stale and are run again.
    shard : Shard, optional
        Set up the run folder of a part of the cohort, inside `out`.

    Raises
    ------
    ConfigurationError
        If the manifest lacks a configured label, or if the folder was set up with other arguments;
        the differences are listed, and nothing is written.
    """
    root = out if shard is None else shard.folder(out)
    workspace = Workspace(root=root, cache=cache or default_cache())
    for name, folder in (("--out", workspace.root), ("--cache", workspace.cache)):
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(
                "a file, not a folder",
                where=f"{name} {folder}",
                remedy=f"Choose another folder with {name}",
            )
    cohort = read_manifest(manifest)
    labels = [label if isinstance(label, str) else None for label in cohort.scans["label"]]
    demand_both_labels(labels, config.labels)
    if config.instances.manifest:
        source = demand_source(config, cohort)
        begin_run(
            source,
            source_workspace(workspace).root,
            source_config(config),
            cache=cache,
            overwrite=overwrite,
        )
    if shard is not None:
        cohort = shard.of(cohort)
    if not overwrite:
        config = with_weights_of(workspace, config)
    with locked(workspace):
        if not overwrite:
            demand_same(workspace, config, cohort)
        cohort.write(workspace.source_manifest)
        write_config(workspace, config)
    return workspace


def demand_same(workspace: Workspace, config: RunConfig, cohort: Manifest) -> None:
    """Refuse a folder that was set up with other settings or another manifest."""
    if not workspace.config.is_file():
        return
    old, new = dataclasses.asdict(read_config(workspace.config)), dataclasses.asdict(config)
    differences = [
        f"{name}: {before} -> {after}"
        for name, (before, after) in changed_settings(old, new).items()
        if affects_results(name)
    ]
    # An unreadable manifest was damaged, and is written again.
    with contextlib.suppress(ManifestError, OSError):
        earlier = read_manifest(workspace.source_manifest, check_files=False)
        differences += [f"manifest: {line}" for line in changed_scans(earlier, cohort)]
    if differences:
        listed = "\n".join(f"  - {line}" for line in differences)
        raise ConfigurationError(
            f"the run folder has other settings (in the folder -> requested)\n{listed}",
            where=str(workspace.root),
            remedy="\nUse the settings of the folder, choose a new folder, or recompute what "
            "depends on the differences with --overwrite",
        )


def _demand_still_possible(context: Context) -> None:
    """Refuse to continue if too few scans are left."""
    from pipelines.preflight import demand_possible, site_notes

    workspace = context.workspace
    manifest = read_manifest(workspace.source_manifest, check_files=False)
    refused = {exclusion.scan_id for exclusion in read_exclusions(workspace.refused)}
    try:
        demand_possible(manifest, context.config, without=refused)
    except ConfigurationError as error:
        remedy = f"{len(refused)} scans were refused; see the reasons in {workspace.refused}"
        raise ConfigurationError(error.message.rstrip("."), remedy=remedy) from error
    for note in site_notes(manifest):
        context.reporter.note(note)


def run_pipeline(
    workspace: Workspace,
    config: RunConfig,
    *,
    stages: Sequence[Stage] = STAGES,
    force_from: str | None = None,
    reporter: Reporter | None = None,
    weights: Path | None = None,
    jobs: int | None = None,
    shard: Shard | None = None,
) -> RunOutcome:
    """Run stages in order; those with current results are skipped.

    The folder is locked during the run.

    Parameters
    ----------
    workspace : Workspace
    config : RunConfig
    stages : sequence of Stage
        In order of data flow.
    force_from : str, optional
        Run this stage and all later ones even if their results are current.
    reporter : Reporter, optional
    weights : Path, optional
        A file with the trunk's weights.
    jobs : int, optional
        Number of scans, or of fits, processed in parallel; by default as many as cores and, of
        scans, memory allow.
    shard : Shard, optional
        The part of a cohort that the folder is of, whose stages end with the features.
    """
    workspace.demand_writable(cache=not _FILL_CACHE.isdisjoint(stage.name for stage in stages))
    reporter = reporter or SilentReporter()
    names = [stage.name for stage in stages]
    given, config = config, _settled(workspace, config, weights, names)
    context = Context(
        workspace=workspace,
        config=config,
        reporter=reporter,
        weights=weights,
        jobs=jobs,
        shard=shard,
    )
    trains = "folds" in names or (names == [CHECK.name] and shard is None)
    if shard is not None and not _FILL_CACHE.issuperset(names):
        raise ConfigurationError(
            "a part of a cohort has no folds",
            where="--shard",
            remedy=f"Add --until {FEATURES.name}. When all parts are done, run without --shard",
        )
    if "check" in names and "features" in names:
        demand_weights(workspace, config, weights)
        if note := size_note(config):
            reporter.note(note)
    if trains and workspace.source_manifest.exists():
        from pipelines.preflight import demand_possible

        manifest = read_manifest(workspace.source_manifest, check_files=False)
        demand_possible(manifest, config)
    forced_at = None if force_from is None else STAGES.index(stage_named(force_from))
    records = []
    with locked(workspace), logged(workspace, reporter) as log:
        context = dataclasses.replace(context, reporter=log)
        if config != given:
            write_config(workspace, config)
        for stage in stages:
            forced = forced_at is not None and STAGES.index(stage) >= forced_at
            log.heading(stage.name)
            if stage is FEATURES:
                demand_unseen(context)
            record, ran = run_stage(stage, context, force=forced)
            if not ran:
                log.unlogged("current, nothing to do")
            records.append(record)
            if stage in _OF_SOURCE and config.instances.manifest:
                _run_source(stage, context, force=forced)
            if stage is CHECK and trains:
                _demand_still_possible(context)
    table = stages[-1].excluded(workspace) if stages else workspace.excluded
    excluded = read_exclusions(table) if table.exists() else ()
    return RunOutcome(
        workspace=workspace,
        records=tuple(records),
        excluded=tuple(excluded),
        excluded_table=table,
        failed_checks=_failed_checks(workspace) if AUDIT in stages else (),
    )


def _run_source(stage: Stage, context: Context, *, force: bool) -> None:
    """Run a stage on the source cohort of instances."""
    source = source_workspace(context.workspace)
    config = source_config(context.config)
    with locked(source):
        write_config(source, config)
        reporter = context.reporter
        reporter.note(f"{stage.name} of the instances ({source.root.name}):")
        _, ran = run_stage(
            stage, dataclasses.replace(context, workspace=source, config=config), force=force
        )
        if not ran:
            reporter.note("current, nothing to do")
    if stage is PREPARE:
        excluded = read_exclusions(source.excluded)
        if excluded:
            reporter.note(f"{len(excluded)} scans of the instances excluded ({source.excluded})")


def _settled(
    workspace: Workspace, config: RunConfig, weights: Path | None, stages: Sequence[str]
) -> RunConfig:
    """Return the configuration with the weights it means, where a stage needs to know them."""
    if "features" in stages:
        return settle_weights(workspace, config, weights)
    return with_weights_of(workspace, config)


def _failed_checks(workspace: Workspace) -> tuple[CheckResult, ...]:
    """Return the checks of the run's audit that did not pass."""
    from mri_transfer.evaluation.audit import AuditDocument

    return AuditDocument.read(workspace.audit, stage="audit").failed
