"""What a command that ran stages prints at its end, and its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pipelines.commands.options import EXCLUDED

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.runner import RunOutcome

__all__ = ["end", "show_answer"]

#: Excluded scans that are printed.
_SHOWN = 20


def show_answer(console: Console, outcome: RunOutcome) -> None:
    """Print the main results and where the report is."""
    from pipelines.stages.evaluate import answer_lines

    console.print()
    for line in answer_lines(outcome.workspace):
        console.print(line, markup=False)
    console.print(f"\nReport: {outcome.workspace.report.resolve()}", markup=False)


def end(console: Console, outcome: RunOutcome) -> None:
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
    for exclusion in excluded[:_SHOWN]:
        console.print(f"  {exclusion.scan_id} [{exclusion.stage}] {exclusion.reason}", markup=False)
    if len(excluded) > _SHOWN:
        console.print(f"  ... and {len(excluded) - _SHOWN} more in the file", markup=False)
