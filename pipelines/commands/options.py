"""Options and exit codes shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "EXCLUDED",
    "AllowProgramsOption",
    "CacheOption",
    "GivenBundle",
    "JobsOption",
    "TrustedKeyOption",
    "WeightsCacheOption",
    "WeightsOption",
]

#: Exit code: success, but scans were excluded or a check failed; they are listed.
EXCLUDED = 3

CacheOption = Annotated[
    Path | None,
    typer.Option(help="Cache folder shared by runs, for prepared scans, slices and features."),
]
WeightsCacheOption = Annotated[
    Path | None, typer.Option(help="Cache folder, for the trunk's converted weights.")
]
WeightsOption = Annotated[
    Path | None, typer.Option(help="File with the trunk's weights (see docs/trunks.md).")
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Scans, or fits, processed in parallel; by default as many as cores and memory allow.",
    ),
]
TrustedKeyOption = Annotated[
    str | None,
    typer.Option(help="Public key (hex or PEM file) that must have signed the bundle."),
]
AllowProgramsOption = Annotated[
    bool,
    typer.Option(
        "--allow-programs",
        help="Allow a bundle that is not signed by --trusted-key to start its brain extraction "
        "program.",
    ),
]
GivenBundle = Annotated[
    Path, typer.Argument(help="Bundle folder or zip.", metavar="BUNDLE", exists=True)
]
