"""`mri-transfer retrain` and `export`: to a bundle, and from a bundle to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import (
    AllowProgramsOption,
    CacheOption,
    TrustedKeyOption,
    WeightsOption,
)
from pipelines.console import open_console

if TYPE_CHECKING:
    from rich.console import Console

    from mri_transfer.bundle import Seal
    from mri_transfer.training.update_choice import StrategyComparison
    from pipelines.jobs.retrain import Packing

__all__ = ["export", "retrain"]

_MODES = ("auto", "refit", "warm", "recalibrate")


def retrain(
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of a finished run; not with --from.", metavar="RUN"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; never written over.")] = Path(
        "bundle"
    ),
    zip_: Annotated[bool, typer.Option("--zip", help="Write the bundle as a zip as well.")] = False,
    version: Annotated[
        str | None,
        typer.Option("--version", help="What to call it; 1, or one more than the old one's."),
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(
            help="Ed25519 private key (PEM) to sign with, as `openssl genpkey -algorithm ed25519` "
            "makes it; without one the bundle is sealed by its digest alone."
        ),
    ] = None,
    heads: Annotated[
        int, typer.Option(min=2, help="Heads of resampled patients, for a score's interval.")
    ] = 20,
    with_features: Annotated[
        bool,
        typer.Option(
            "--with-features",
            help="Put the training patients' features in, numbered, for refits without the run.",
        ),
    ] = False,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Old bundle that takes in a new cohort; it stays as it is."),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest of the new cohort (.csv); with --from.")
    ] = None,
    old_run: Annotated[
        Path | None,
        typer.Option("--run", help="Run that the old bundle was made of, to refit on both."),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="How to take in the new cohort: refit on both, warm (the head moves from where "
            "it is), recalibrate, or auto: what cross-validation speaks for."
        ),
    ] = "auto",
    work: Annotated[
        Path | None, typer.Option(help="Run folder of the new cohort; by default OUT_run.")
    ] = None,
    trusted_key: Annotated[
        str | None,
        typer.Option(help="Public key (hex or PEM file) that must have signed the old bundle."),
    ] = None,
    allow_programs: AllowProgramsOption = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Scans of the new cohort prepared at a time.")
    ] = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Refit the evaluated procedure on all patients and pack the model as a bundle."""
    from mri_transfer.training.refit import BootstrapSpec
    from pipelines.jobs.retrain import Packing, retrain_run
    from pipelines.reporters import reporter_for
    from pipelines.runner import open_run

    _demand_one_source(run, from_, manifest, mode)
    console = open_console()
    packing = Packing(
        out=out,
        zipped=zip_,
        version=version,
        sign=sign,
        with_features=with_features,
        bootstrap=BootstrapSpec(n_heads=heads),
    )
    if run is not None:
        workspace, settings = open_run(run, cache=cache)
        reporter = reporter_for(console)
        seal = retrain_run(workspace, settings, packing, reporter=reporter, weights=weights)
        _show_bundle(console, packing, seal)
        return
    from pipelines.jobs.retrain_update import Update, update_bundle

    assert from_ is not None  # _demand_one_source
    assert manifest is not None
    compared, new_seal = update_bundle(
        Update(
            bundle=from_,
            manifest=manifest,
            work=work or out.with_name(f"{out.name}_run"),
            run=old_run,
            mode=mode,  # type: ignore[arg-type]  # _demand_one_source
            trusted_key=trusted_key,
            allow_programs=allow_programs,
        ),
        packing,
        cache=cache,
        reporter=reporter_for(console),
        weights=weights,
        jobs=jobs,
    )
    _show_ways(console, compared)
    if new_seal is None:
        console.print("\nNo new bundle: no update is significantly better.")
    else:
        _show_bundle(console, packing, new_seal)


def export(
    bundle: Annotated[Path, typer.Argument(help="Folder or zip of a bundle.", metavar="BUNDLE")],
    onnx: Annotated[
        Path | None,
        typer.Option(help="File (.onnx) of trunk and head, from slices to the score; float32."),
    ] = None,
    monai: Annotated[
        Path | None, typer.Option(help="Folder of a MONAI bundle that scores whole scans.")
    ] = None,
    trusted_key: TrustedKeyOption = None,
    weights: WeightsOption = None,
) -> None:
    """Write a bundle for other programs; each scores as the bundle does, up to rounding."""
    from mri_transfer.bundle import Runtime, load_bundle
    from mri_transfer.bundle.export import write_monai_bundle, write_onnx
    from mri_transfer.errors import ConfigurationError

    if onnx is None and monai is None:
        raise ConfigurationError("nothing to write", where="export", expected="--onnx or --monai")
    # Nothing is started here, whatever the bundle names.
    runtime = Runtime(weights=weights, allow_programs=True)
    model = load_bundle(bundle, trusted_key=trusted_key, runtime=runtime)
    console = open_console()
    if onnx is not None:
        write_onnx(model, onnx)
        console.print(f"ONNX: {onnx.resolve()}", markup=False)
    if monai is not None:
        write_monai_bundle(model, monai)
        console.print(f"MONAI bundle: {monai.resolve()}", markup=False)


def _demand_one_source(
    run: Path | None, from_: Path | None, manifest: Path | None, mode: str
) -> None:
    from mri_transfer.errors import ConfigurationError

    if mode not in _MODES:
        raise ConfigurationError(
            "no such mode", where="--mode", found=mode, expected=", ".join(_MODES)
        )
    if (run is None) == (from_ is None) or (from_ is None) != (manifest is None):
        raise ConfigurationError(
            "a bundle is made of a run, or of a bundle and a new cohort",
            where="retrain",
            expected="RUN, or --from BUNDLE --manifest NEW.csv",
        )


def _show_ways(console: Console, compared: StrategyComparison) -> None:
    """Say what cross-validation found about the ways of taking in a cohort."""
    document = compared.document
    console.print(
        f"\n{document['n_old']} old and {document['n_new']} new patients, "
        f"{document['n_folds']} folds:"
    )
    for way, figures in document["all"].items():
        auc = figures["auc"]["value"]
        console.print(f"  {way:<12} AUC {auc:.3f}, log loss {figures['log_loss']:.3f}")
    for step in document["steps"]:
        found = step["log_loss_difference"]
        interval = (
            f"no interval: {found['reason']}"
            if found["ci_low"] is None
            else f"{found['ci_low']:+.3f} to {found['ci_high']:+.3f}"
        )
        verdict = "significantly better" if step["surely_better"] else "not significantly better"
        console.print(
            f"  {step['way']} against {step['against']}: log loss {found['value']:+.3f} "
            f"({interval}), {verdict}"
        )
    console.print(f"Cross-validation speaks for: {document['chosen']}")


def _show_bundle(console: Console, packing: Packing, seal: Seal) -> None:
    console.print(f"\nBundle: {packing.out.resolve()}", markup=False)
    console.print(f"Digest: {seal.digest}", markup=False)
    if seal.signed_by is not None:
        console.print(f"Signed by: {seal.signed_by}", markup=False)
    else:
        console.print("Not signed: tell users the digest by another way than the bundle.")
