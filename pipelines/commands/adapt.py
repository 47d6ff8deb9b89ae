"""`mri-transfer adapt`: a bundle for a new site with a handful of labelled patients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import (
    AllowProgramsOption,
    CacheOption,
    GivenBundle,
    OutFolder,
    SignOption,
    TrustedKeyOption,
    VerboseOption,
    WeightsOption,
    ZipOption,
)
from pipelines.console import open_console

if TYPE_CHECKING:
    from rich.console import Console

    from mri_transfer.training.adaptation.arms import ArmName

__all__ = ["adapt"]


def adapt(
    bundle: GivenBundle,
    manifest: Annotated[Path, typer.Option(help="Manifest of the new site (.csv).")],
    labelled: Annotated[
        int,
        typer.Option(
            min=4,
            help="Number of patients whose labels may be used, drawn with as many of one label as "
            "of the other; the site's other patients are scored only.",
        ),
    ],
    out: OutFolder = Path("adapted"),
    way: Annotated[
        str,
        typer.Option(
            help="Way to adapt, or auto: the one that is significantly better than the bundle on "
            "labelled patients left out one at a time, if any."
        ),
    ] = "auto",
    ways: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            help="Way that auto tries; may be repeated. By default all that work on features.",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run that the bundle was made of: needed by moments, combat, film_blended and "
            "flute, and to measure forgetting."
        ),
    ] = None,
    domain_column: Annotated[
        str,
        typer.Option(help="Column of that run's manifest with the training domains, for blends."),
    ] = "site",
    seed: Annotated[int, typer.Option(min=0, help="Draws the labelled patients.")] = 0,
    zip_: ZipOption = False,
    version: Annotated[
        str | None,
        typer.Option("--version", help="Version of the bundle; by default the old one's plus 1."),
    ] = None,
    sign: SignOption = None,
    work: Annotated[
        Path | None, typer.Option(help="Run folder of the new site; by default OUT_run.")
    ] = None,
    trusted_key: TrustedKeyOption = None,
    allow_programs: AllowProgramsOption = False,
    verbose: VerboseOption = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Scans of the new site prepared in parallel.")
    ] = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Adapt a bundle to a new site with a handful of labelled patients, if it is worth it."""
    from pipelines.jobs.adapt import DEFAULT_WAYS, SiteAdaptation, adapt_bundle
    from pipelines.jobs.retrain import Packing
    from pipelines.reporters import reporter_for

    tried = tuple(_known_way(name) for name in ways) if ways else DEFAULT_WAYS
    console = open_console()
    folder = work or out.with_name(f"{out.name}_run")
    document, seal = adapt_bundle(
        SiteAdaptation(
            bundle=bundle,
            manifest=manifest,
            work=folder,
            labelled=labelled,
            way="auto" if way == "auto" else _known_way(way),
            ways=tried,
            run=run,
            domain_column=domain_column,
            seed=seed,
            trusted_key=trusted_key,
            allow_programs=allow_programs,
        ),
        Packing(out=out, zipped=zip_, version=version, sign=sign),
        cache=cache,
        reporter=reporter_for(console, verbose=verbose),
        weights=weights,
        jobs=jobs,
    )
    _show(console, document)
    console.print(f"Report: {(folder / 'adaptation.html').resolve()}", markup=False)
    if seal is not None:
        console.print(f"\nBundle: {out.resolve()}", markup=False)
        console.print(f"Digest: {seal.digest}", markup=False)


def _known_way(name: str) -> ArmName:
    from mri_transfer.errors import ConfigurationError
    from mri_transfer.training.adaptation.arms import ARMS

    if name not in ARMS:
        raise ConfigurationError(
            "no such way to adapt", where="--way", found=name, expected=", ".join(ARMS)
        )
    return name


def _show(console: Console, document: Mapping[str, Any]) -> None:
    """Print what was tried, and the answer."""
    choice = document["choice"]
    console.print(f"\n{choice['n_labelled']} labelled patients, left out one at a time:")
    for name, figures in choice["ways"].items():
        p = f", p {figures['p_adjusted']:.3f}" if "p_adjusted" in figures else ""
        console.print(
            f"  {name:<13} AUC {figures['auc']['value']:.3f}, "
            f"log loss {figures['log_loss']:.3f}{p}",
            markup=False,
        )
    for name, reason in choice["not_tried"].items():
        console.print(f"  {name:<13} not tried: {reason}", markup=False)
    if document["way"] == "none":
        few = (
            ""
            if choice["enough"]
            else f" {choice['needed']} labelled patients would be needed to show anything."
        )
        console.print(f"\nNot worth it: no way is significantly better than the bundle.{few}")
        return
    console.print(f"Adapted by {document['way']}: {document['title']}", markup=False)
    own, old = document["own_patients"], document["old_domain"]
    if own is not None:
        console.print(
            f"The site's {own['n']} other patients: AUC {own['before']['auc']['value']:.3f} "
            f"before, {own['after']['auc']['value']:.3f} after"
        )
    if old is not None:
        console.print(
            f"Forgetting: AUC of {old['n_old']} held-out old patients "
            f"{old['auc_before']['value']:.3f} before, {old['auc_after']['value']:.3f} after"
        )
