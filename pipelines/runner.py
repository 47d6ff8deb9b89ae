"""Runs stages in their order on a run folder; the Python face of the command."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mri_transfer.cohorts.exclusions import Exclusion, read_exclusions
from mri_transfer.cohorts.labels import demand_both_labels
from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
from mri_transfer.core.files import atomic_write_text
from mri_transfer.core.specs import suggestion
from mri_transfer.errors import ConfigurationError, ManifestError, RunFolderError
from mri_transfer.evaluation.audit.document import CheckResult
from pipelines.config import RunConfig, config_toml, read_config
from pipelines.lock import locked
from pipelines.preflight import demand_possible, demand_weights, site_notes
from pipelines.record import StageRecord
from pipelines.reporters import SilentReporter
from pipelines.running import run_stage
from pipelines.settings import changed_scans, changed_settings
from pipelines.stage import Context, Reporter, Stage
from pipelines.stages.audit import AUDIT, failed_checks
from pipelines.stages.check import CHECK
from pipelines.stages.evaluate import EVALUATE
from pipelines.stages.explain import EXPLAIN
from pipelines.stages.features import FEATURES
from pipelines.stages.folds import FOLDS
from pipelines.stages.prepare import PREPARE
from pipelines.stages.report import REPORT
from pipelines.stages.slices import SLICES
from pipelines.stages.train import TRAIN
from pipelines.workspace import Workspace, default_cache

__all__ = [
    "STAGES",
    "RunOutcome",
    "begin_run",
    "keep_scans",
    "keep_scans_of",
    "open_run",
    "run_pipeline",
    "stage_named",
    "stages_until",
    "write_config",
]

#: Every stage, in the order of the data's flow.
STAGES: tuple[Stage, ...] = (
    CHECK,
    PREPARE,
    SLICES,
    FEATURES,
    FOLDS,
    TRAIN,
    EVALUATE,
    AUDIT,
    EXPLAIN,
    REPORT,
)
#: What they make lies in the cache, which is tried before the first of them reads every scan.
_FILL_CACHE = frozenset(stage.name for stage in (CHECK, PREPARE, SLICES, FEATURES))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What a run came to."""

    workspace: Workspace
    records: tuple[StageRecord, ...]
    excluded: tuple[Exclusion, ...]
    excluded_table: Path
    """The file that lists them."""
    failed_checks: tuple[CheckResult, ...] = ()
    """Checks of the audit that did not pass, if it was among the stages."""


def stage_named(name: str) -> Stage:
    """Return a stage by its name.

    Raises
    ------
    ConfigurationError
        If there is none of that name.
    """
    for stage in STAGES:
        if stage.name == name:
            return stage
    names = [stage.name for stage in STAGES]
    raise ConfigurationError(
        "no such stage",
        found=name,
        expected=", ".join(names),
        remedy=suggestion(name, names).strip() or None,
    )


def stages_until(name: str | None) -> tuple[Stage, ...]:
    """Return the stages up to one, itself included; all of them without a name.

    Raises
    ------
    ConfigurationError
        If there is none of that name.
    """
    return STAGES if name is None else STAGES[: STAGES.index(stage_named(name)) + 1]


def keep_scans(config: RunConfig, scan_ids: Sequence[str]) -> RunConfig:
    """Return the configuration with some scans kept whatever their quality is."""
    keep = tuple(dict.fromkeys((*config.quality.keep, *scan_ids)))
    quality = dataclasses.replace(config.quality, keep=keep)
    return dataclasses.replace(config, quality=quality)


def keep_scans_of(out: Path, config: RunConfig) -> RunConfig:
    """Return the configuration with the scans kept that a begun run folder keeps."""
    begun = Workspace(root=out, cache=default_cache()).config
    return keep_scans(config, read_config(begun).quality.keep) if begun.is_file() else config


def begin_run(
    manifest: Path,
    out: Path,
    config: RunConfig,
    *,
    cache: Path | None = None,
    overwrite: bool = False,
) -> Workspace:
    """Set up a run folder: the resolved configuration and a copy of the manifest.

    Calling it again on the same folder with the same arguments changes nothing.

    Parameters
    ----------
    manifest, out : Path
    config : RunConfig
        Checked against the manifest before anything is written.
    cache : Path, optional
        The user's cache folder if not given.
    overwrite : bool
        Take other settings, or another manifest, into a folder that was begun: the stages that
        depend on them are no longer current and run anew.

    Raises
    ------
    ConfigurationError
        If the manifest lacks a label that the configuration names, or if the folder was begun
        with other arguments; they are listed, and nothing is written.
    """
    workspace = Workspace(root=out, cache=cache or default_cache())
    for name, folder in (("--out", workspace.root), ("--cache", workspace.cache)):
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(
                "a file stands where a folder is needed",
                where=f"{name} {folder}",
                remedy=f"Name another folder with {name}",
            )
    cohort = read_manifest(manifest)
    labels = [label if isinstance(label, str) else None for label in cohort.scans["label"]]
    demand_both_labels(labels, config.labels)
    with locked(workspace):
        if not overwrite:
            _demand_same(workspace, config, cohort)
        cohort.write(workspace.source_manifest)
        write_config(workspace, config)
    return workspace


def _demand_same(workspace: Workspace, config: RunConfig, cohort: Manifest) -> None:
    """Refuse a folder that was begun with other settings or another manifest."""
    if not workspace.config.is_file():
        return
    old, new = (dataclasses.asdict(one) for one in (read_config(workspace.config), config))
    # How a report is printed contradicts nothing that was computed.
    differences = [
        f"{name}: {before} -> {after}"
        for name, (before, after) in changed_settings(old, new).items()
        if not name.startswith("report.")
    ]
    # One that cannot be read was damaged, and is written again.
    with contextlib.suppress(ManifestError, OSError):
        earlier = read_manifest(workspace.source_manifest, check_files=False)
        differences += [f"manifest: {line}" for line in changed_scans(earlier, cohort)]
    if differences:
        listed = "\n".join(f"  - {line}" for line in differences)
        raise ConfigurationError(
            f"this folder was begun with other settings (in the folder -> asked for)\n{listed}",
            where=str(workspace.root),
            remedy="\nRepeat the settings of the folder, name a new folder, or let "
            "`mri-transfer run --overwrite` make anew what depends on the difference",
        )


def write_config(workspace: Workspace, config: RunConfig) -> None:
    """Write the resolved configuration into the run folder."""
    atomic_write_text(workspace.config, config_toml(config))


def open_run(out: Path, *, cache: Path | None = None) -> tuple[Workspace, RunConfig]:
    """Open a run folder that `begin_run` set up.

    Raises
    ------
    RunFolderError
        If it is none.
    """
    workspace = Workspace(root=out, cache=cache or default_cache())
    if not workspace.config.is_file():
        raise RunFolderError(
            "not a run folder: config.toml is missing",
            where=str(out),
            remedy=f"Begin one with `mri-transfer run --manifest M.csv --out {out}`",
        )
    return workspace, read_config(workspace.config)


def _demand_still_possible(context: Context) -> None:
    """Refuse to go on if the scans that were refused leave too few."""
    workspace = context.workspace
    manifest = read_manifest(workspace.source_manifest, check_files=False)
    refused = {exclusion.scan_id for exclusion in read_exclusions(workspace.refused)}
    try:
        demand_possible(manifest, context.config, without=refused)
    except ConfigurationError as error:
        told = f"Refused scans: {len(refused)}, each with its reason in {workspace.refused}"
        raise ConfigurationError(error.message.rstrip("."), remedy=told) from error
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
) -> RunOutcome:
    """Run stages in their order; those whose result is current are skipped.

    The folder is locked meanwhile.

    Parameters
    ----------
    workspace : Workspace
    config : RunConfig
    stages : sequence of Stage
        In the order of the data's flow.
    force_from : str, optional
        Run this stage and all after it even if their results are current.
    reporter : Reporter, optional
    weights : Path, optional
        A file to read the trunk's weights from.
    jobs : int, optional
        Scans prepared at the same time; by default as many as cores and memory allow.
    """
    workspace.demand_writable(cache=not _FILL_CACHE.isdisjoint(stage.name for stage in stages))
    reporter = reporter or SilentReporter()
    context = Context(
        workspace=workspace, config=config, reporter=reporter, weights=weights, jobs=jobs
    )
    names = [stage.name for stage in stages]
    trains = "folds" in names or names == [CHECK.name]
    if "check" in names and "features" in names:
        demand_weights(workspace, config, weights)
    if trains and workspace.source_manifest.exists():
        manifest = read_manifest(workspace.source_manifest, check_files=False)
        demand_possible(manifest, config)
    forced_at = None if force_from is None else STAGES.index(stage_named(force_from))
    records = []
    with locked(workspace):
        for stage in stages:
            forced = forced_at is not None and STAGES.index(stage) >= forced_at
            reporter.heading(stage.name)
            record, ran = run_stage(stage, context, force=forced)
            if not ran:
                reporter.note("current, nothing to do")
            records.append(record)
            if stage is CHECK and trains:
                _demand_still_possible(context)
    table = stages[-1].excluded(workspace) if stages else workspace.excluded
    excluded = read_exclusions(table) if table.exists() else ()
    return RunOutcome(
        workspace=workspace,
        records=tuple(records),
        excluded=tuple(excluded),
        excluded_table=table,
        failed_checks=failed_checks(workspace) if AUDIT in stages else (),
    )
