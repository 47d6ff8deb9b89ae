"""`mri-transfer plan`: hours, memory, disk and the size of a job array for a cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import CacheOption, ConfigOption, SetOption
from pipelines.console import open_console

__all__ = ["plan"]


def plan(
    manifest: Annotated[Path, typer.Argument(help="Manifest of the cohort (.csv).")],
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Cores of the machine to plan for; by default of this one."),
    ] = None,
    task_hours: Annotated[
        float, typer.Option(min=0.01, help="Hours that a task of a job array is meant to take.")
    ] = 1.0,
    config: ConfigOption = None,
    set_: SetOption = None,
    cache: CacheOption = None,
) -> None:
    """Estimate what a run on a cohort takes: hours, memory, disk and the size of a job array.

    Rates measured on this machine are used where there are some.
    """
    from pipelines.config import read_config

    settings = read_config(config, set_ or ())
    # Heavy: what is wrong with the settings has been said by now.
    from pipelines.jobs.plan import plan_cohort, plan_lines
    from pipelines.pool import workers_of
    from pipelines.workspace import default_cache

    console = open_console()
    planned = plan_cohort(
        manifest,
        settings,
        cache=cache or default_cache(),
        workers=workers or workers_of(None),
        task_s=3600 * task_hours,
    )
    for line in plan_lines(planned):
        console.print(line, markup=False)
