"""`mri-transfer retrain` and `export`: create a bundle, and export it to other formats."""

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

    from mri_transfer.bundle import Seal
    from mri_transfer.training.update_choice import StrategyComparison
    from pipelines.jobs.retrain import Packing

__all__ = ["export", "retrain"]

_MODES = ("auto", "refit", "tune", "warm", "recalibrate")


def retrain(
    run: Annotated[
        Path | None,
        typer.Argument(help="Finished run folder; not with --from.", metavar="RUN"),
    ] = None,
    out: OutFolder = Path("bundle"),
    zip_: ZipOption = False,
    version: Annotated[
        str | None,
        typer.Option(
            "--version", help="Version of the bundle; by default 1, or the old one's plus 1."
        ),
    ] = None,
    sign: SignOption = None,
    heads: Annotated[
        int, typer.Option(min=2, help="Number of bootstrap heads, for the interval of a score.")
    ] = 20,
    with_features: Annotated[
        bool,
        typer.Option(
            "--with-features",
            help="Include the training patients' features, numbered, for refits without the run.",
        ),
    ] = False,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Bundle to update with a new cohort; it is not changed."),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest of the new cohort (.csv); with --from.")
    ] = None,
    old_run: Annotated[
        Path | None,
        typer.Option("--run", help="Run of the old bundle, to refit on both cohorts."),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="How to update: refit on both cohorts, tune (train the tail further), warm "
            "(warm-start the head), recalibrate, or auto (selected by cross-validation)."
        ),
    ] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Setting of --mode tune, for example tuning.ewc=100 or tuning.rehearsal=0.5; "
            "may be repeated. With --mode auto tune is among the candidates then.",
        ),
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Run folder of the new cohort; by default OUT_run.")
    ] = None,
    trusted_key: Annotated[
        str | None,
        typer.Option(help="Public key (hex or PEM file) that must have signed the old bundle."),
    ] = None,
    allow_programs: AllowProgramsOption = False,
    verbose: VerboseOption = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Scans of the new cohort prepared in parallel.")
    ] = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Refit the evaluated model on all patients and write it as a bundle.

    An existing bundle is never overwritten.
    """
    from pipelines.opening import open_run

    _demand_one_source(run, from_, manifest, mode)
    if run is not None:
        _demand_unused(
            {
                "--run": old_run,
                "--mode": None if mode == "auto" else mode,
                "--work": work,
                "--trusted-key": trusted_key,
                "--allow-programs": allow_programs or None,
                "--jobs": jobs,
                "--set": set_,
            }
        )
    opened = None if run is None else open_run(run, cache=cache)
    # Heavy: what is wrong with the arguments has been said by now.
    from mri_transfer.training.refit import BootstrapSpec
    from pipelines.jobs.retrain import Packing, retrain_run
    from pipelines.reporters import reporter_for

    console = open_console()
    packing = Packing(
        out=out,
        zipped=zip_,
        version=version,
        sign=sign,
        with_features=with_features,
        bootstrap=BootstrapSpec(n_heads=heads),
    )
    if opened is not None:
        workspace, settings = opened
        reporter = reporter_for(console, verbose=verbose)
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
            settings=tuple(set_ or ()),
            trusted_key=trusted_key,
            allow_programs=allow_programs,
        ),
        packing,
        cache=cache,
        reporter=reporter_for(console, verbose=verbose),
        weights=weights,
        jobs=jobs,
    )
    _show_updates(console, compared, mode=mode)
    if new_seal is None:
        console.print("\nNo new bundle: no update is significantly better.")
    else:
        _show_bundle(console, packing, new_seal)


def export(
    bundle: GivenBundle,
    onnx: Annotated[
        Path | None,
        typer.Option(help="ONNX file of trunk and head, from slices to the score; float32."),
    ] = None,
    monai: Annotated[
        Path | None, typer.Option(help="Folder for a MONAI bundle that scores whole scans.")
    ] = None,
    trusted_key: TrustedKeyOption = None,
    weights: WeightsOption = None,
) -> None:
    """Export a bundle to other formats, which give the same scores up to rounding."""
    from mri_transfer.bundle import Runtime, load_bundle
    from mri_transfer.bundle.export import write_monai_bundle, write_onnx
    from mri_transfer.errors import ConfigurationError

    if onnx is None and monai is None:
        raise ConfigurationError("no output", where="export", expected="--onnx or --monai")
    # Exporting does not start any program of the bundle.
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
            "a bundle needs a run, or a bundle and a new cohort",
            where="retrain",
            expected="RUN, or --from BUNDLE --manifest NEW.csv",
        )


def _demand_unused(options: Mapping[str, object]) -> None:
    """Refuse options that act with --from alone."""
    from mri_transfer.errors import ConfigurationError

    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigurationError(
            "options that act on the update of a bundle alone",
            where="retrain",
            found=", ".join(given),
            remedy="Leave them out, or name a bundle with --from",
        )


def _show_updates(console: Console, compared: StrategyComparison, *, mode: str) -> None:
    """Print the cross-validated comparison of the updates."""
    document = compared.document
    console.print(
        f"\n{document['n_old']} old and {document['n_new']} new patients, "
        f"{document['n_folds']} folds:"
    )
    for way, figures in document["all"].items():
        auc = figures["auc"]["value"]
        console.print(f"  {way:<12} AUC {auc:.3f}, log loss {figures['log_loss']:.3f}")
    for step in document["steps"]:
        difference = step["log_loss_difference"]
        interval = (
            f"no interval: {difference['reason']}"
            if difference["ci_low"] is None
            else f"{difference['ci_low']:+.3f} to {difference['ci_high']:+.3f}"
        )
        verdict = (
            "significantly better" if step["significantly_better"] else "not significantly better"
        )
        console.print(
            f"  {step['strategy']} vs {step['against']}: log loss {difference['value']:+.3f} "
            f"({interval}), {verdict}"
        )
    console.print(f"Selected by cross-validation: {document['chosen']}")
    if mode not in ("auto", document["chosen"]):
        console.print(f"Made all the same, as --mode says: {mode}")
    if "forgetting" in document:
        _show_forgetting(console, document["forgetting"])


def _show_forgetting(console: Console, meter: Mapping[str, Any]) -> None:
    """Print what the update costs on the old cohort, and how far the weights went."""
    before, after = meter["auc_before"], meter["auc_after"]
    if before is None:
        console.print("Forgetting: the old patients were not at hand (name their run with --run).")
    else:
        difference = meter["auc_difference"]
        console.print(
            f"Forgetting: AUC of {meter['n_old']} held-out old patients {before['value']:.3f} "
            f"before, {after['value']:.3f} after ({difference['value']:+.3f})"
        )
    if guards := meter.get("guards"):
        console.print(
            f"Against forgetting: L2-SP {guards['l2_sp']:g}, EWC {guards['ewc']:g}, "
            f"{guards['n_rehearsed']} old patients rehearsed ({guards['rehearsal']:.0%})"
        )
    moved = ", ".join(
        f"{part} {'not comparable' if far is None else f'{far:.1%}'}"
        for part, far in meter["distances"].items()
    )
    console.print(f"Weights moved by: {moved}")


def _show_bundle(console: Console, packing: Packing, seal: Seal) -> None:
    console.print(f"\nBundle: {packing.out.resolve()}", markup=False)
    console.print(f"Digest: {seal.digest}", markup=False)
    if seal.signed_by is not None:
        console.print(f"Signed by: {seal.signed_by}", markup=False)
    else:
        console.print("Not signed: give users the digest by a separate channel.")
