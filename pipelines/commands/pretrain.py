"""`mri-transfer pretrain`: weights of the autoencoder from unlabelled scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import EXCLUDED, CacheOption, JobsOption, VerboseOption
from pipelines.console import open_console

__all__ = ["pretrain"]


def pretrain(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="Manifest (.csv) of cohorts other than the one to be evaluated; labels are not "
            "read."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="File of the weights (.safetensors); a record (.json) goes beside it."),
    ] = Path("autoencoder.safetensors"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over all slices, at most.")] = 30,
    batch_slices: Annotated[int, typer.Option(min=2, help="Slices in a batch.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW, at the start.")] = 1e-3,
    masked: Annotated[
        float, typer.Option(help="Share of each slice's squares to blacken and restore.")
    ] = 0.5,
    held_out: Annotated[
        float, typer.Option(help="Share of patients whose loss chooses the epoch.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")] = 0,
    config: Annotated[
        Path | None, typer.Option(help="TOML file: how scans are prepared and cut.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Set one option, such as slices.size_px=128.")
    ] = None,
    verbose: VerboseOption = None,
    jobs: JobsOption = None,
    cache: CacheOption = None,
) -> None:
    """Train an autoencoder on unlabelled scans, for trunk.name=autoencoder."""
    from pydantic import ValidationError

    from mri_transfer.core.specs import validation_message
    from mri_transfer.errors import ConfigurationError
    from mri_transfer.models.pretraining.spec import PretrainingSpec
    from pipelines.config import read_config

    settings = read_config(config, set_ or [])
    try:
        spec = PretrainingSpec(
            epochs=epochs,
            batch_slices=batch_slices,
            learning_rate=learning_rate,
            masked=masked,
            held_out=held_out,
            seed=seed,
        )
    except ValidationError as error:
        raise ConfigurationError(validation_message(error, of="options")) from error
    # Heavy: what is wrong with the settings has been said by now.
    from pipelines.jobs.pretrain import pretrain_weights
    from pipelines.reporters import reporter_for

    console = open_console()
    found = pretrain_weights(
        manifest,
        out,
        settings,
        spec,
        cache=cache,
        jobs=jobs,
        reporter=reporter_for(console, verbose=verbose),
    )
    document = found.document
    kept = document.epochs[document.kept - 1]
    for line in (
        f"\n{document.n_scans} scans of {document.n_patients} patients, {document.n_held_out} of "
        "them held out",
        f"epoch {document.kept} of {len(document.epochs)} kept: loss {kept.training:.5f}, held out "
        f"{kept.held_out:.5f}",
        f"weights sha256 {document.weights_sha256}",
        f"Weights: {out.resolve()}",
        f"Record: {found.record.resolve()}",
    ):
        console.print(line, markup=False)
    if found.scans.excluded:
        console.print(
            f"{len(found.scans.excluded)} scans excluded ({found.scans.excluded_table})",
            markup=False,
        )
        raise typer.Exit(EXCLUDED)
