"""The command `run`: all stages on a cohort, or on a part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mri_transfer.errors import ConfigurationError
from pipelines.commands.options import (
    CacheOption,
    ConfigOption,
    JobsOption,
    KeepOption,
    ManifestOption,
    OutFolder,
    SetOption,
    VerboseOption,
    WeightsOption,
)
from pipelines.commands.outcome import end, show_answer
from pipelines.console import open_console
from pipelines.names import STAGE_HELP

__all__ = ["run"]


def _stages(incomplete: str) -> list[str]:
    return [name for name in STAGE_HELP if name.startswith(incomplete)]


def run(
    manifest: ManifestOption,
    out: OutFolder = Path("run"),
    config: ConfigOption = None,
    set_: SetOption = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            autocompletion=_stages,
            help="Run this stage and all later ones even if they are current.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(autocompletion=_stages, help="Stop after this stage, such as features."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Extent of the analysis: quick, standard or full; same as --set profile=..."
        ),
    ] = None,
    keep: KeepOption = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Allow other settings or another manifest in an existing run folder, and "
            "recompute what depends on them.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what would run and about how long it takes, and stop."
        ),
    ] = False,
    verbose: VerboseOption = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only every N-th scan, from the I-th (1 to N), up to --until features; for job "
            "arrays that share --cache.",
        ),
    ] = None,
    jobs: JobsOption = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Run all stages on a cohort, from the scans to the report."""
    from pipelines.config import read_config
    from pipelines.opening import keep_scans, keep_scans_of
    from pipelines.plan.order import stage_named, stages_until
    from pipelines.shards import Shard

    part = None if shard is None else Shard.parse(shard)
    if from_ is not None:
        stage_named(from_)
    stages = stages_until(until)
    chosen = [] if profile is None else [f"profile={profile}"]
    settings = keep_scans(read_config(config, [*chosen, *(set_ or ())]), keep or ())
    if not overwrite:
        settings = keep_scans_of(out if part is None else part.folder(out), settings)
    if dry_run:
        if part is not None:
            raise ConfigurationError(
                "a dry run is of a whole cohort", found="--shard", remedy="Leave --shard out"
            )
        from pipelines.jobs.dry_run import dry_run_lines

        console = open_console()
        for line in dry_run_lines(
            manifest,
            out,
            settings,
            stages,
            cache=cache,
            weights=weights,
            overwrite=overwrite,
            force_from=from_,
            jobs=jobs,
        ):
            console.print(line, markup=False)
        return
    # Heavy: what is wrong with the settings has been said by now.
    from pipelines.reporters import reporter_for
    from pipelines.runner import begin_run, run_pipeline

    console = open_console()
    workspace = begin_run(manifest, out, settings, cache=cache, overwrite=overwrite, shard=part)
    outcome = run_pipeline(
        workspace,
        settings,
        stages=stages,
        force_from=from_,
        reporter=reporter_for(console, verbose=verbose),
        weights=weights,
        jobs=jobs,
        shard=part,
    )
    if until is None:
        show_answer(console, outcome)
    end(console, outcome)
