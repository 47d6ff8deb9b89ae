"""`mri-transfer predict`: new scans through a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import open_console

__all__ = ["predict"]

_EXCLUDED = 3


def predict(
    bundle: Annotated[
        Path, typer.Argument(help="Folder or zip of a bundle.", metavar="BUNDLE", exists=True)
    ],
    scans: Annotated[
        list[Path],
        typer.Argument(help="NIfTI files, folders of them, or BIDS data sets.", metavar="SCAN..."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results; made if missing.")] = Path(
        "predictions"
    ),
    age: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=130,
            help="Age in years, to be held against the training patients'; by "
            "default what participants.tsv says.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Score scans outside of the input contract as well, marked as such."
        ),
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Scans at a time.")] = 1,
    trusted_key: Annotated[
        str | None,
        typer.Option(help="Public key (hex or PEM file) that must have signed the bundle."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Cache folder, for the trunk's converted weights.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File of the trunk's weights (.onnx or .safetensors).")
    ] = None,
) -> None:
    """Score new scans with a bundle; it abstains, and says why, where it was not made for them."""
    from pipelines.predict import BundlePlace, find_scans, predict_scans
    from pipelines.reporters import reporter_for
    from pipelines.workspace import default_cache

    console = open_console()
    place = BundlePlace(
        path=bundle,
        trusted_key=trusted_key,
        weights=weights,
        cache=(cache or default_cache()) / "weights",
    )
    requests = find_scans(scans, age_years=age, force=force)
    outcomes = predict_scans(place, requests, out, reporter=reporter_for(console), jobs=jobs)
    console.print()
    for outcome in outcomes:
        for line in outcome.lines:
            console.print(line, markup=False)
    n_said = sum(outcome.row["score"] != "" for outcome in outcomes)
    console.print(f"\n{n_said} of {len(outcomes)} scans scored: {out.resolve()}", markup=False)
    console.print("Research use only. Not a medical device.")
    if not all(outcome.is_predicted for outcome in outcomes):
        raise typer.Exit(_EXCLUDED)
