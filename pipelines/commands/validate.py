"""`mri-transfer validate`: a finished bundle on another cohort, nothing refitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import (
    EXCLUDED,
    AllowProgramsOption,
    CacheOption,
    JobsOption,
    TrustedKeyOption,
    WeightsOption,
)
from pipelines.console import estimate_text, open_console

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.jobs.validate import Validation

__all__ = ["validate"]


def validate(
    bundle: Annotated[Path, typer.Argument(help="Folder or zip of a bundle.", metavar="BUNDLE")],
    manifest: Annotated[Path, typer.Option(help="Manifest of the other cohort (.csv).")],
    out: Annotated[Path, typer.Option(help="Folder of the test; made if missing.")],
    aggregate_only: Annotated[
        bool,
        typer.Option(
            "--aggregate-only",
            help="Also write OUT/aggregate, which holds no patient and no small count and may be "
            "sent out.",
        ),
    ] = False,
    threshold: Annotated[
        str,
        typer.Option(
            help="Calls by the bundle's threshold (bundle), or by thresholds that parts of the "
            "cohort choose for the rest of it (rechosen)."
        ),
    ] = "bundle",
    allow_overlap: Annotated[
        bool,
        typer.Option("--allow-overlap", help="Count patients who were trained on: no test."),
    ] = False,
    trusted_key: TrustedKeyOption = None,
    allow_programs: AllowProgramsOption = False,
    jobs: JobsOption = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Test a bundle on another cohort; nothing is refitted."""
    from mri_transfer.errors import ConfigurationError
    from mri_transfer.evaluation.external.settings import ExternalSpec
    from pipelines.jobs.validate import validate_bundle
    from pipelines.reporters import reporter_for

    if threshold not in ("bundle", "rechosen"):
        raise ConfigurationError(
            "no such threshold",
            where="--threshold",
            found=threshold,
            expected="bundle or rechosen",
        )
    console = open_console()
    found = validate_bundle(
        bundle,
        manifest,
        out,
        spec=ExternalSpec(
            threshold="rechosen" if threshold == "rechosen" else "bundle",
            allow_overlap=allow_overlap,
        ),
        trusted_key=trusted_key,
        allow_programs=allow_programs,
        aggregate_only=aggregate_only,
        cache=cache,
        reporter=reporter_for(console),
        weights=weights,
        jobs=jobs,
    )
    _show(console, found, aggregate_only=aggregate_only)
    if found.left_out:
        raise typer.Exit(EXCLUDED)


def _show(console: Console, found: Validation, *, aggregate_only: bool) -> None:
    document, files = found.document, found.files
    everybody, cohort = document.populations.all, document.cohort
    console.print()
    if cohort.n_overlapping:
        what = "COUNTED: THIS IS NO TEST" if cohort.overlap_counted else "left out"
        n = cohort.n_overlapping
        who = "1 patient was" if n == 1 else f"{n} patients were"
        console.print(f"{who} trained on: {what}", markup=False)
    console.print(
        f"{everybody.n} patients, {everybody.n_positive} {document.positive_label}; "
        f"{cohort.n_outside_contract} outside the input contract",
        markup=False,
    )
    if everybody.figures is None:
        console.print(f"  most figures are not defined: {everybody.reason}", markup=False)
        told = everybody.one_label
        for name in ("sensitivity", "specificity"):
            rate = getattr(told, name, None)
            if rate is not None:
                console.print(f"  {name:<22} {estimate_text(rate)}", markup=False)
    for one in everybody.comparison:
        external, internal = estimate_text(one.external), estimate_text(one.internal)
        console.print(f"  {one.figure:<22} {external}; internal {internal}", markup=False)
    if found.left_out:
        count = "1 scan" if len(found.left_out) == 1 else f"{len(found.left_out)} scans"
        console.print(f"\n{count} left out ({files.left_out})", markup=False)
    console.print(f"\nReport: {files.workspace.report.resolve()}", markup=False)
    if aggregate_only:
        console.print(f"To send out: {files.aggregate.resolve()}", markup=False)
