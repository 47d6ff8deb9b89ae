"""`mri-transfer study`: how much of a trunk to train on a cohort, starting from what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import (
    EXCLUDED,
    CacheOption,
    ConfigOption,
    JobsOption,
    OutFolder,
    SetOption,
    VerboseOption,
    WeightsOption,
)
from pipelines.console import open_console

__all__ = ["DEFAULT_ARMS", "study"]

DEFAULT_ARMS = ("frozen", "some", "most", "all", "ssf", "random", "untrained")


def study(
    manifest: Annotated[Path, typer.Argument(help="Manifest of the cohort (.csv).")],
    out: OutFolder = Path("study"),
    trunk: Annotated[
        list[str] | None,
        typer.Option(
            help="Trunk to study; repeatable. All arms are run for the first, and the others are "
            "used frozen."
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help="Arm to run: frozen, some, most, all, ssf, norm, lora, random (all stages from "
            "random weights), untrained (frozen random weights); repeatable. By default all but "
            "norm and lora."
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0, help="Budget: arms are run, the cheapest first, while their estimates fit."
        ),
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Print the arms and their estimated times, and stop.")
    ] = False,
    similar: Annotated[
        bool,
        typer.Option(
            "--similar",
            help="The weights come from a source that resembles the cohort, such as MRI; affects "
            "only the rule of thumb.",
        ),
    ] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
    verbose: VerboseOption = None,
    jobs: JobsOption = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Compare strategies of transfer learning on one cohort, and advise.

    The settings of --config and --set are shared by all arms.
    """
    from pipelines.config import read_config

    settings = read_config(config, set_ or [])
    # Heavy: what is wrong with the settings has been said by now.
    from pipelines.jobs.study import run_study, study_lines
    from pipelines.jobs.study_plan import plan_lines, plan_study
    from pipelines.reporters import reporter_for

    console = open_console()
    plan = plan_study(
        manifest,
        settings,
        trunks=trunk or [settings.trunk.name],
        kinds=arm or DEFAULT_ARMS,
        hours=hours,
    )
    for line in plan_lines(plan):
        console.print(line, markup=False)
    if plan_only:
        return
    document = run_study(
        manifest,
        out,
        plan,
        cache=cache,
        weights=weights,
        jobs=jobs,
        similar=similar,
        reporter=reporter_for(console, verbose=verbose),
    )
    console.print()
    for line in study_lines(document):
        console.print(line, markup=False)
    console.print(f"\nStudy: {(out / 'index.html').resolve()}", markup=False)
    if any(one.state == "failed" for one in document.arms):
        raise typer.Exit(EXCLUDED)
