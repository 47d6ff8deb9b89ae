"""`mri-transfer predict`: score new scans with a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.commands.manifest_options import PadIds
from pipelines.commands.options import (
    EXCLUDED,
    AllowProgramsOption,
    GivenBundle,
    OutFolder,
    TrustedKeyOption,
    VerboseOption,
    WeightsCacheOption,
    WeightsOption,
)
from pipelines.console import open_console

__all__ = ["predict"]

#: Same as `figures.Orientation`, whose module is not imported for `--help`.
Orientation = Literal["neurological", "radiological"]


def predict(
    bundle: GivenBundle,
    scans: Annotated[
        list[Path],
        typer.Argument(help="NIfTI files, folders of them, or BIDS data sets.", metavar="SCAN..."),
    ],
    out: OutFolder = Path("predictions"),
    age: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=130,
            help="Age in years, to compare with the training patients; by default read from "
            "participants.tsv.",
        ),
    ] = None,
    sex: Annotated[
        str | None,
        typer.Option(
            help="Sex as the training manifest spells it, such as F; with the age it tells whether "
            "the ventricles are wide. By default read from participants.tsv.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also score scans outside the input contract, marked as such."
        ),
    ] = False,
    pad_ids: PadIds = False,
    orientation: Annotated[
        Orientation,
        typer.Option(
            help="Left side of the slices in the PDF: neurological (the patient's left) or "
            "radiological (the patient's right)."
        ),
    ] = "neurological",
    verbose: VerboseOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="Scans processed in parallel.")] = 1,
    trusted_key: TrustedKeyOption = None,
    allow_programs: AllowProgramsOption = False,
    cache: WeightsCacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Score new scans with a bundle; it abstains from scans outside its input contract."""
    from pipelines.jobs.find_scans import find_scans
    from pipelines.jobs.predict import bundle_place, predict_scans
    from pipelines.reporters import reporter_for

    console = open_console()
    place = bundle_place(
        bundle,
        trusted_key=trusted_key,
        allow_programs=allow_programs,
        weights=weights,
        cache=cache,
    )
    found = find_scans(scans, age_years=age, sex=sex, force=force, pad_ids=pad_ids)
    for note in found.notes:
        console.print(f"note: {note}", markup=False)
    outcomes = predict_scans(
        place,
        found.requests,
        out,
        reporter=reporter_for(console, verbose=verbose),
        jobs=jobs,
        orientation=orientation,
    )
    console.print()
    for outcome in outcomes:
        for line in outcome.lines:
            console.print(line, markup=False)
    n_scored = sum(outcome.row["score"] != "" for outcome in outcomes)
    console.print(f"\n{n_scored} of {len(outcomes)} scans scored: {out.resolve()}", markup=False)
    console.print("Research use only. Not a medical device.")
    if not all(outcome.is_predicted for outcome in outcomes):
        raise typer.Exit(EXCLUDED)
