"""`mri-transfer compare`: finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import OutFolder, VerboseOption
from pipelines.console import open_console

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Two or more finished run folders.", metavar="RUN...")
    ],
    out: OutFolder = Path("comparison"),
    verbose: VerboseOption = None,
) -> None:
    """Compare finished runs, with tests on their common patients."""
    from pipelines.opening import open_run

    for folder in runs:
        open_run(folder)
    # Heavy: what is no run folder has been said by now.
    from pipelines.jobs.compare import compare_run_folders, comparison_lines
    from pipelines.reporters import reporter_for

    console = open_console()
    document = compare_run_folders(runs, out, reporter=reporter_for(console, verbose=verbose))
    for line in comparison_lines(document):
        console.print(line, markup=False)
    console.print(f"\nComparison: {(out / 'index.html').resolve()}", markup=False)
