"""`mri-transfer validate`: test a bundle on another cohort, without refitting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import (
    EXCLUDED,
    AllowProgramsOption,
    CacheOption,
    GivenBundle,
    JobsOption,
    ManifestOption,
    OutFolder,
    TrustedKeyOption,
    VerboseOption,
    WeightsOption,
)
from pipelines.console import estimate_text, open_console

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.jobs.validate import Validation

__all__ = ["validate"]


def validate(
    bundle: GivenBundle,
    manifest: ManifestOption,
    out: OutFolder = Path("external"),
    aggregate_only: Annotated[
        bool,
        typer.Option(
            "--aggregate-only",
            help="Also write OUT/aggregate, without patient data and small counts, for sharing.",
        ),
    ] = False,
    threshold: Annotated[
        str,
        typer.Option(
            help="Classify with the bundle's threshold (bundle), or with thresholds cross-fitted "
            "on the cohort (rechosen)."
        ),
    ] = "bundle",
    allow_overlap: Annotated[
        bool,
        typer.Option(
            "--allow-overlap", help="Include training patients: the result is not a valid test."
        ),
    ] = False,
    adapt_moments: Annotated[
        bool,
        typer.Option(
            "--adapt-moments",
            help="Take moments of the trunk's batch normalisation from this cohort's scans, "
            "unlabelled (transductive): the result is not that of the bundle as it is.",
        ),
    ] = False,
    trusted_key: TrustedKeyOption = None,
    allow_programs: AllowProgramsOption = False,
    verbose: VerboseOption = None,
    jobs: JobsOption = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Test a bundle on another cohort, without refitting."""
    from mri_transfer.errors import ConfigurationError

    if threshold not in ("bundle", "rechosen"):
        raise ConfigurationError(
            "no such threshold",
            where="--threshold",
            found=threshold,
            expected="bundle or rechosen",
        )
    # Heavy: what is wrong with the arguments has been said by now.
    from mri_transfer.evaluation.external.settings import ExternalSpec
    from pipelines.jobs.validate import validate_bundle
    from pipelines.reporters import reporter_for

    console = open_console()
    validation = validate_bundle(
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
        adapt_moments=adapt_moments,
        cache=cache,
        reporter=reporter_for(console, verbose=verbose),
        weights=weights,
        jobs=jobs,
    )
    _show(console, validation, aggregate_only=aggregate_only)
    if validation.left_out:
        raise typer.Exit(EXCLUDED)


def _show(console: Console, validation: Validation, *, aggregate_only: bool) -> None:
    document, files = validation.document, validation.files
    everybody, cohort = document.populations.all, document.cohort
    console.print()
    for warning in document.warnings:
        if warning.code == "transductive_moments":
            console.print(f"WARNING: {warning}", markup=False)
    if cohort.n_overlapping:
        what = "INCLUDED: NOT A VALID TEST" if cohort.overlap_counted else "left out"
        n = cohort.n_overlapping
        who = "1 training patient" if n == 1 else f"{n} training patients"
        console.print(f"{who} in the cohort: {what}", markup=False)
    console.print(
        f"{everybody.n} patients, {everybody.n_positive} {document.positive_label}; "
        f"{cohort.n_outside_contract} outside the input contract",
        markup=False,
    )
    if everybody.figures is None:
        console.print(f"  most metrics are undefined: {everybody.reason}", markup=False)
        for name in ("sensitivity", "specificity"):
            rate = getattr(everybody.one_label, name, None)
            if rate is not None:
                console.print(f"  {name:<22} {estimate_text(rate)}", markup=False)
    for row in everybody.comparison:
        external, internal = estimate_text(row.external), estimate_text(row.internal)
        console.print(f"  {row.figure:<22} {external}; internal {internal}", markup=False)
    if validation.left_out:
        n_left_out = len(validation.left_out)
        count = "1 scan" if n_left_out == 1 else f"{n_left_out} scans"
        console.print(f"\n{count} left out ({files.left_out})", markup=False)
    console.print(f"\nReport: {files.workspace.report.resolve()}", markup=False)
    if aggregate_only:
        console.print(f"For sharing: {files.aggregate.resolve()}", markup=False)
