"""`mri-transfer export-features` and `export-slices`: a run's features and slices as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.commands.options import CacheOption, OutFolder, RunFolder, VerboseOption
from pipelines.console import open_console

__all__ = ["export_features", "export_slices"]


def export_features(
    run: RunFolder,
    out: OutFolder = Path("features"),
    csv: Annotated[
        bool, typer.Option("--csv", help="Write features.csv: a row per slice.")
    ] = False,
    npz: Annotated[
        bool,
        typer.Option(
            "--npz", help="Write features.npz: an array of scans, slices and features, for NumPy."
        ),
    ] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write features.parquet: a row per slice.")
    ] = False,
    verbose: VerboseOption = None,
    cache: CacheOption = None,
) -> None:
    """Write the features of a run as tables for other programs."""
    from mri_transfer.errors import ConfigurationError
    from pipelines.opening import open_run

    chosen = {"csv": csv, "npz": npz, "parquet": parquet}
    formats = [name for name, wanted in chosen.items() if wanted]
    if not formats:
        raise ConfigurationError(
            "no format", where="export-features", expected="--csv, --npz or --parquet"
        )
    workspace, settings = open_run(run, cache=cache)
    # Heavy: what is wrong with the arguments has been said by now.
    from pipelines.jobs.export_run import export_run_features
    from pipelines.reporters import reporter_for

    console = open_console()
    reporter = reporter_for(console, verbose=verbose)
    for file in export_run_features(workspace, settings, out, formats=formats, reporter=reporter):
        console.print(f"Features: {file.resolve()}", markup=False)


def export_slices(
    run: RunFolder,
    out: OutFolder = Path("slices"),
    png: Annotated[bool, typer.Option("--png", help="Write a PNG file per slice.")] = False,
    scan: Annotated[
        list[str] | None,
        typer.Option(metavar="SCAN_ID", help="Only this scan; repeatable. By default all."),
    ] = None,
    orientation: Annotated[
        Literal["neurological", "radiological"],
        typer.Option(
            help="Left side of the slices: the patient's left (neurological, as the trunk is given "
            "them) or right (radiological)."
        ),
    ] = "neurological",
    verbose: VerboseOption = None,
    cache: CacheOption = None,
) -> None:
    """Write the slices of a run as pictures, with a table of them."""
    from mri_transfer.errors import ConfigurationError
    from pipelines.opening import open_run

    if not png:
        raise ConfigurationError("no format", where="export-slices", expected="--png")
    workspace, settings = open_run(run, cache=cache)
    # Heavy: what is wrong with the arguments has been said by now.
    from pipelines.jobs.export_run import export_run_slices
    from pipelines.reporters import reporter_for

    console = open_console()
    table = export_run_slices(
        workspace,
        settings,
        out,
        scan_ids=scan or (),
        orientation=orientation,
        reporter=reporter_for(console, verbose=verbose),
    )
    console.print(f"Slices: {table.resolve()}", markup=False)
