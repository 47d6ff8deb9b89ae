"""Run a command-line program: errors become a message and an exit code."""

from __future__ import annotations

import signal
import sys

import typer

from mri_transfer.core.machine import machine_fault
from mri_transfer.errors import ConfigurationError, MriTransferError
from pipelines.console import discard_unwritable_output

__all__ = ["print_version", "run_program"]

FAILED, USAGE = 1, 2


def print_version(value: bool) -> None:
    """Print the version and exit: the callback of a flag."""
    if value:
        from mri_transfer.version import __version__

        typer.echo(f"mri-transfer {__version__}")
        raise typer.Exit


def run_program(app: typer.Typer) -> None:
    """Run the command that the arguments of the process name; report errors."""
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
        typer.echo(f"{app.info.name}: {message}", err=True)
        discard_unwritable_output()
        sys.exit(USAGE if isinstance(error, ConfigurationError) else FAILED)
