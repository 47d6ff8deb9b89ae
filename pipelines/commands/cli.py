"""The command `mri-transfer`: a thin layer over the stages.

Nothing heavy is imported before a command runs, so that `--help` is fast.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.adapt import adapt
from pipelines.commands.compare import compare
from pipelines.commands.config import config
from pipelines.commands.doctor import doctor
from pipelines.commands.export_run import export_features, export_slices
from pipelines.commands.manifest import manifest_app
from pipelines.commands.open import open_
from pipelines.commands.options import (
    CacheOption,
    JobsOption,
    KeepOption,
    OutFolder,
    RunFolder,
    VerboseOption,
    WeightsOption,
)
from pipelines.commands.outcome import end, show_answer
from pipelines.commands.plan import plan
from pipelines.commands.predict import predict
from pipelines.commands.pretrain import pretrain
from pipelines.commands.program import print_version, run_program
from pipelines.commands.retrain import export, retrain
from pipelines.commands.run import run
from pipelines.commands.serve import serve
from pipelines.commands.study import study
from pipelines.commands.validate import validate
from pipelines.console import open_console
from pipelines.names import STAGE_HELP

__all__ = ["app", "main"]

app = typer.Typer(
    name="mri-transfer",
    help="Transfer learning for Alzheimer's MRI, evaluated per patient and audited for leakage. "
    "Research software, not a medical device.",
    epilog="Exit codes: 0 success; 1 failure; 2 invalid usage or configuration; "
    "3 success, but some scans were excluded (they are listed).",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(manifest_app, name="manifest")


@app.callback()
def _root(
    _version_flag: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


app.command("run")(run)


def _run_stage(
    name: str,
    run: Path,
    *,
    cache: Path | None,
    verbose: bool | None,
    jobs: int | None = None,
    weights: Path | None = None,
) -> None:
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
        reporter=reporter_for(console, verbose=verbose),
        weights=weights,
        jobs=jobs,
    )
    end(console, outcome)


def _stage_command(name: str) -> Callable[..., None]:
    """Return the command of a stage that works on scans or patients in parallel."""

    def command(
        run: RunFolder,
        verbose: VerboseOption = None,
        jobs: JobsOption = None,
        cache: CacheOption = None,
    ) -> None:
        _run_stage(name, run, cache=cache, verbose=verbose, jobs=jobs)

    return command


def _trunk_stage_command(name: str) -> Callable[..., None]:
    """Return the command of a stage that may pass slices through the trunk."""

    def command(
        run: RunFolder,
        verbose: VerboseOption = None,
        jobs: JobsOption = None,
        cache: CacheOption = None,
        weights: WeightsOption = None,
    ) -> None:
        _run_stage(name, run, cache=cache, verbose=verbose, jobs=jobs, weights=weights)

    return command


def _folds_command(
    run: RunFolder, verbose: VerboseOption = None, cache: CacheOption = None
) -> None:
    _run_stage("folds", run, cache=cache, verbose=verbose)


def _prepare_command(
    run: RunFolder,
    keep: KeepOption = None,
    verbose: VerboseOption = None,
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
            reporter=reporter_for(console, verbose=verbose),
            jobs=jobs,
        )
    end(console, outcome)


def _report_command(
    run: RunFolder,
    paper: Annotated[
        str | None, typer.Option(help="Paper size of the PDFs: a4 (default) or us-letter.")
    ] = None,
    pseudonymise: Annotated[
        Path | None,
        typer.Option(
            metavar="KEY_FILE",
            help="Write a pseudonymised report instead, to RUN/report_pseudonymised; the key file "
            "is created if missing.",
        ),
    ] = None,
    verbose: VerboseOption = None,
    short: Annotated[
        bool, typer.Option("--short", help="Write the two-page summary alone: report/summary.pdf.")
    ] = False,
    cache: CacheOption = None,
) -> None:
    from pipelines.config import read_config
    from pipelines.lock import locked
    from pipelines.opening import open_run, write_config

    workspace, settings = open_run(run, cache=cache)
    from pipelines.plan.order import stage_named
    from pipelines.reporters import reporter_for
    from pipelines.runner import run_pipeline
    from pipelines.stage import Context

    console = open_console()
    reporter = reporter_for(console, verbose=verbose)
    with locked(workspace):
        if paper is not None:
            settings = read_config(workspace.config, [f"report.paper={paper}"])
            write_config(workspace, settings)
        context = Context(workspace=workspace, config=settings, reporter=reporter)
        if short:
            from pipelines.stages.report import write_short_report

            console.print(f"Summary: {write_short_report(context).resolve()}", markup=False)
            return
        if pseudonymise is not None:
            from pipelines.stages.report import write_pseudonymous_report

            page = write_pseudonymous_report(context, pseudonymise)
            console.print(f"Pseudonymised report: {page.resolve()}", markup=False)
            console.print(f"Keep the key in a safe place: {pseudonymise.resolve()}", markup=False)
            return
        outcome = run_pipeline(
            workspace,
            settings,
            stages=[stage_named("report")],
            reporter=reporter,
        )
    end(console, outcome)


_COMMANDS: dict[str, Callable[..., None]] = {
    "prepare": _prepare_command,
    "folds": _folds_command,
    "report": _report_command,
    **{name: _trunk_stage_command(name) for name in ("features", "train", "audit", "explain")},
}
for _name, _help in STAGE_HELP.items():
    app.command(_name, help=_help)(_COMMANDS.get(_name) or _stage_command(_name))


app.command("retrain")(retrain)
app.command("predict")(predict)
app.command("validate")(validate)
app.command("adapt")(adapt)
app.command("export")(export)
app.command("serve")(serve)
app.command("study")(study)
app.command("plan")(plan)
app.command("open")(open_)
app.command("config")(config)
app.command("compare")(compare)
app.command("doctor")(doctor)
app.command("export-features")(export_features)
app.command("export-slices")(export_slices)
app.command("pretrain")(pretrain)


@app.command()
def demo(
    out: OutFolder = Path("demo"),
    verbose: VerboseOption = None,
    cache: CacheOption = None,
    open_report: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the report in a browser.")
    ] = True,
) -> None:
    """Run the pipeline on a synthetic cohort; both are written to the output folder."""
    from pipelines.jobs.demo import closing_words, run_demo
    from pipelines.reporters import reporter_for

    console = open_console()
    outcome = run_demo(out, cache=cache, reporter=reporter_for(console, verbose=verbose))
    show_answer(console, outcome)
    console.print(closing_words(), markup=False)
    if open_report and console.is_terminal:
        typer.launch(str(outcome.workspace.report))
    end(console, outcome)


def main() -> None:
    """Run the command; report errors as a message and an exit code."""
    run_program(app)


if __name__ == "__main__":
    main()
