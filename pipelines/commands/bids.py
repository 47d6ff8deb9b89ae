"""The command `mri-transfer-bids`: the BIDS App, one call per participant or for the group.

Nothing heavy is imported before the command runs, so that `--help` is fast.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from pipelines.commands.manifest_options import KnownLabels, LabelColumn
from pipelines.commands.options import (
    ConfigOption,
    JobsOption,
    KeepOption,
    SetOption,
    WeightsOption,
)
from pipelines.commands.outcome import end, show_answer
from pipelines.commands.program import print_version, run_program
from pipelines.console import open_console

__all__ = ["app", "main"]

#: Options that take several values at once, as those of other BIDS Apps do.
_LISTS = ("--participant-label", "--participant_label", "--session-label", "--session_label")


class _Level(enum.StrEnum):
    PARTICIPANT = "participant"
    GROUP = "group"


class _ListCommand(TyperCommand):
    """Takes `--participant-label 01 02` for `--participant-label 01 --participant-label 02`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _spread(args))


def _spread(args: list[str]) -> list[str]:
    spread: list[str] = []
    option, given = None, 0
    for word in args:
        if word.startswith("-"):
            option, given = (word, 0) if word in _LISTS else (None, 0)
        elif option is not None:
            given += 1
            if given > 1:
                spread.append(option)
        spread.append(word)
    return spread


app = typer.Typer(
    name="mri-transfer-bids",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command(
    cls=_ListCommand,
    epilog="Exit codes: 0 success; 1 failure; 2 invalid usage or configuration; "
    "3 success, but some scans were excluded (they are listed).",
)
def bids(
    source: Annotated[
        Path, typer.Argument(metavar="BIDS_DIR", help="Raw BIDS data set; it is not changed.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT_DIR", help="Derivative data set; created if missing.")
    ],
    level: Annotated[
        _Level,
        typer.Argument(
            help="participant: prepare the scans and compute their features. group: from the folds "
            "to the report, when all participants are done."
        ),
    ],
    participant_label: Annotated[
        list[str] | None,
        typer.Option(
            "--participant-label",
            "--participant_label",
            metavar="LABEL...",
            help="Only these participants, with or without sub-; by default all.",
        ),
    ] = None,
    session_label: Annotated[
        list[str] | None,
        typer.Option(
            "--session-label",
            "--session_label",
            metavar="LABEL...",
            help="Only these sessions, with or without ses-; by default all.",
        ),
    ] = None,
    label_column: LabelColumn = None,
    label: KnownLabels = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    keep: KeepOption = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work-dir",
            "-w",
            metavar="FOLDER",
            help="Folder for intermediate files, the same in all calls; by default OUT_DIR/work.",
        ),
    ] = None,
    jobs: JobsOption = None,
    weights: WeightsOption = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="group: allow other settings or participants than in OUT_DIR/group, and recompute "
            "what depends on them.",
        ),
    ] = False,
    verbose: Annotated[
        bool | None,
        typer.Option(
            "--verbose/--quiet",
            help="Show details, such as why a stage runs; or nothing but results and errors.",
            show_default=False,
        ),
    ] = None,
    _version_flag: Annotated[
        bool,
        typer.Option(
            "--version", "-v", callback=print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Transfer learning for Alzheimer's MRI as a BIDS App. Research software, not a medical device.

    Diagnoses are read from participants.tsv, sessions.tsv or phenotype/, at group level only.
    """
    from pipelines.commands.manifest import chosen_labels
    from pipelines.config import read_config
    from pipelines.opening import keep_scans

    settings = keep_scans(read_config(config, set_ or ()), keep or ())
    entities: dict[str, Any] = {"sub": participant_label, "ses": session_label}
    from pipelines.jobs.bids import BidsCall, analyse_group, process_participants
    from pipelines.jobs.bids_dataset import WORK_FOLDER
    from pipelines.reporters import reporter_for

    console = open_console()
    reporter = reporter_for(console, verbose=verbose)
    call = BidsCall(
        source=source,
        out=out,
        work=work or out / WORK_FOLDER,
        filters={name: values for name, values in entities.items() if values},
        config=settings,
        weights=weights,
        jobs=jobs,
    )
    if level is _Level.PARTICIPANT:
        end(console, process_participants(call, reporter=reporter))
        return
    outcome = analyse_group(
        call,
        label_column=label_column,
        labels=chosen_labels(label),
        overwrite=overwrite,
        reporter=reporter,
    )
    show_answer(console, outcome)
    end(console, outcome)


def main() -> None:
    """Run the command; report errors as a message and an exit code."""
    run_program(app)


if __name__ == "__main__":
    main()
