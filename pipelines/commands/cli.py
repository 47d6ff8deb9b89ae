"""The command `mri-transfer`: a thin layer over the stages.

Nothing heavy is imported before a command runs, so that `--help` is fast.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mri_transfer.core.machine import machine_fault
from mri_transfer.errors import ConfigurationError, MriTransferError
from pipelines.commands.manifest import manifest_app
from pipelines.commands.options import EXCLUDED, CacheOption, JobsOption, WeightsOption
from pipelines.commands.predict import predict
from pipelines.commands.retrain import export, retrain
from pipelines.commands.serve import serve
from pipelines.commands.study import study
from pipelines.commands.validate import validate
from pipelines.console import discard_unwritable_output, open_console
from pipelines.names import STAGE_HELP

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.runner import RunOutcome

__all__ = ["app", "main"]

FAILED, USAGE = 1, 2

app = typer.Typer(
    name="mri-transfer",
    help="Transfer learning for Alzheimer's MRI, evaluated per patient and audited for leakage. "
    "Research software, not a medical device.",
    epilog="Exit codes: 0 success; 1 failure; 2 invalid usage or configuration; "
    "3 success, but some scans were excluded (they are listed).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(manifest_app, name="manifest")

ConfigOption = Annotated[
    Path | None,
    typer.Option(help="TOML file, or a shipped configuration: hon_khan_2017.toml."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set one option, such as heads.kind=attention; repeatable."),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keep", help="Keep this scan whatever its quality; repeatable. The choice is recorded."
    ),
]
RunFolder = Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")]


def _version(value: bool) -> None:
    if value:
        from mri_transfer.version import __version__

        typer.echo(f"mri-transfer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version_flag: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    manifest: Annotated[Path, typer.Option(help="Manifest of the cohort (.csv).")],
    out: Annotated[Path, typer.Option(help="Run folder; created if missing.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="Run this stage and all later ones even if they are current."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Stop after this stage, such as features.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Extent of the analysis: quick, standard or full; same as --set profile=..."
        ),
    ] = None,
    keep: KeepOption = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Allow other settings or another manifest in an existing run folder, and "
            "recompute what depends on them.",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only every N-th scan, from the I-th (1 to N), up to --until features; for job "
            "arrays that share --cache.",
        ),
    ] = None,
    jobs: JobsOption = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Run all stages on a cohort, from the scans to the report."""
    from pipelines.config import read_config
    from pipelines.opening import keep_scans, keep_scans_of
    from pipelines.plan.order import stage_named, stages_until
    from pipelines.shards import Shard

    part = None if shard is None else Shard.parse(shard)
    if from_ is not None:
        stage_named(from_)
    stages = stages_until(until)
    chosen = [] if profile is None else [f"profile={profile}"]
    settings = keep_scans(read_config(config, [*chosen, *(set_ or ())]), keep or ())
    if not overwrite:
        settings = keep_scans_of(out if part is None else part.folder(out), settings)
    # Heavy: what is wrong with the settings has been said by now.
    from pipelines.reporters import reporter_for
    from pipelines.runner import begin_run, run_pipeline

    console = open_console()
    workspace = begin_run(manifest, out, settings, cache=cache, overwrite=overwrite, shard=part)
    outcome = run_pipeline(
        workspace,
        settings,
        stages=stages,
        force_from=from_,
        reporter=reporter_for(console),
        weights=weights,
        jobs=jobs,
        shard=part,
    )
    if until is None:
        _show_answer(console, outcome)
    _end(console, outcome)


def _stage_command(name: str) -> Callable[..., None]:
    def command(run: RunFolder, cache: CacheOption = None, weights: WeightsOption = None) -> None:
        from pipelines.opening import open_run

        workspace, settings = open_run(run, cache=cache)
        from pipelines.plan.order import stage_named
        from pipelines.reporters import reporter_for
        from pipelines.runner import run_pipeline

        console = open_console()
        outcome = run_pipeline(
            workspace,
            settings,
            stages=[stage_named(name)],
            reporter=reporter_for(console),
            weights=weights,
        )
        _end(console, outcome)

    command.__doc__ = STAGE_HELP[name]
    return command


def _prepare_command(
    run: RunFolder,
    keep: KeepOption = None,
    jobs: JobsOption = None,
    cache: CacheOption = None,
) -> None:
    from pipelines.lock import locked
    from pipelines.opening import keep_scans, open_run, write_config

    workspace, settings = open_run(run, cache=cache)
    settings = keep_scans(settings, keep or ())
    from pipelines.plan.order import stage_named
    from pipelines.reporters import reporter_for
    from pipelines.runner import run_pipeline

    console = open_console()
    with locked(workspace):
        write_config(workspace, settings)
        outcome = run_pipeline(
            workspace,
            settings,
            stages=[stage_named("prepare")],
            reporter=reporter_for(console),
            jobs=jobs,
        )
    _end(console, outcome)


def _report_command(
    run: RunFolder,
    paper: Annotated[
        str | None, typer.Option(help="Paper size of report.pdf: a4 (default) or us-letter.")
    ] = None,
    pseudonymise: Annotated[
        Path | None,
        typer.Option(
            metavar="KEY_FILE",
            help="Write a pseudonymised report instead, to RUN/report_pseudonymised; the key file "
            "is created if missing.",
        ),
    ] = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    from pipelines.config import read_config
    from pipelines.lock import locked
    from pipelines.opening import open_run, write_config

    workspace, settings = open_run(run, cache=cache)
    from pipelines.plan.order import stage_named
    from pipelines.reporters import reporter_for
    from pipelines.runner import run_pipeline

    console = open_console()
    reporter = reporter_for(console)
    with locked(workspace):
        if paper is not None:
            settings = read_config(workspace.config, [f"report.paper={paper}"])
            write_config(workspace, settings)
        if pseudonymise is not None:
            from pipelines.stage import Context
            from pipelines.stages.report import write_pseudonymous_report

            context = Context(workspace=workspace, config=settings, reporter=reporter)
            page = write_pseudonymous_report(context, pseudonymise)
            console.print(f"Pseudonymised report: {page.resolve()}", markup=False)
            console.print(f"Keep the key in a safe place: {pseudonymise.resolve()}", markup=False)
            return
        outcome = run_pipeline(
            workspace,
            settings,
            stages=[stage_named("report")],
            reporter=reporter,
            weights=weights,
        )
    _end(console, outcome)


_COMMANDS: dict[str, Callable[..., None]] = {"prepare": _prepare_command, "report": _report_command}
for _name, _help in STAGE_HELP.items():
    app.command(_name, help=_help)(_COMMANDS.get(_name) or _stage_command(_name))


app.command("retrain")(retrain)
app.command("predict")(predict)
app.command("validate")(validate)
app.command("export")(export)
app.command("serve")(serve)
app.command("study")(study)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the cohort and the run.")] = Path("demo"),
    cache: CacheOption = None,
    open_report: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the report in a browser.")
    ] = True,
) -> None:
    """Run the pipeline on a synthetic cohort, which is generated first."""
    from pipelines.jobs.demo import closing_words, run_demo
    from pipelines.reporters import reporter_for

    console = open_console()
    outcome = run_demo(out, cache=cache, reporter=reporter_for(console))
    _show_answer(console, outcome)
    console.print(closing_words(), markup=False)
    if open_report and console.is_terminal:
        typer.launch(str(outcome.workspace.report))
    _end(console, outcome)


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Two or more finished run folders.", metavar="RUN...")
    ],
    out: Annotated[Path, typer.Option(help="Output folder; created if missing.")],
) -> None:
    """Compare finished runs, with tests on their common patients."""
    from pipelines.opening import open_run

    for folder in runs:
        open_run(folder)
    # Heavy: what is no run folder has been said by now.
    from pipelines.jobs.compare import compare_run_folders, comparison_lines
    from pipelines.reporters import reporter_for

    console = open_console()
    document = compare_run_folders(runs, out, reporter=reporter_for(console))
    for line in comparison_lines(document):
        console.print(line, markup=False)
    console.print(f"\nComparison: {(out / 'index.html').resolve()}", markup=False)


@app.command()
def doctor(
    trunk: Annotated[
        str | None, typer.Option(help="Trunk whose weights and speed to look at, as trunk.name.")
    ] = None,
    cache: CacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Report the installation: versions, trunks, weights, numerical precision and speed."""
    from pipelines.jobs.doctor import examine

    console = open_console()
    for name, value in examine(trunk=trunk, cache=cache, weights=weights):
        console.print(f"{name:<22} {value}", markup=False)


def _show_answer(console: Console, outcome: RunOutcome) -> None:
    from pipelines.stages.evaluate import answer_lines

    console.print()
    for line in answer_lines(outcome.workspace):
        console.print(line, markup=False)
    console.print(f"\nReport: {outcome.workspace.report.resolve()}", markup=False)


def _end(console: Console, outcome: RunOutcome) -> None:
    """List excluded scans and failed checks; exit with the corresponding code."""
    _show_failed_checks(console, outcome)
    _show_excluded(console, outcome)
    if outcome.excluded or outcome.failed_checks:
        raise typer.Exit(EXCLUDED)


def _show_failed_checks(console: Console, outcome: RunOutcome) -> None:
    failed = outcome.failed_checks
    if not failed:
        return
    count = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
    console.print(f"\n{count} of the audit failed ({outcome.workspace.audit}):", markup=False)
    for check in failed:
        first = "; ".join(
            f"{name} {value}" for one in check.found[:1] for name, value in one.items()
        )
        console.print(
            f"  {check.check}: {check.what}; expected {check.expected}, found "
            f"{check.n_found}{f', the first: {first}' if first else ''}",
            markup=False,
        )


def _show_excluded(console: Console, outcome: RunOutcome) -> None:
    excluded = outcome.excluded
    if not excluded:
        return
    count = "1 scan" if len(excluded) == 1 else f"{len(excluded)} scans"
    console.print(f"\n{count} excluded ({outcome.excluded_table}):", markup=False)
    shown = 20
    for exclusion in excluded[:shown]:
        console.print(f"  {exclusion.scan_id} [{exclusion.stage}] {exclusion.reason}", markup=False)
    if len(excluded) > shown:
        console.print(f"  ... and {len(excluded) - shown} more in the file", markup=False)


def main() -> None:
    """Run the command; report errors as a message and an exit code."""
    # SIGTERM is raised as an exception, to stop worker processes and remove temporary files.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        app()
    except Exception as error:
        fault = machine_fault(error)
        if fault is None and not isinstance(error, MriTransferError | OSError):
            raise
        message = str(fault or error)
        if fault is None and isinstance(error, OSError) and error.filename is not None:
            message = f"{error.filename}: {error.strerror}."
        typer.echo(f"mri-transfer: {message}", err=True)
        discard_unwritable_output()
        sys.exit(USAGE if isinstance(error, ConfigurationError) else FAILED)


if __name__ == "__main__":
    main()
