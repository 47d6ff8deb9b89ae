"""Options and exit codes that several commands share, each worded once."""

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

#: Exit code: done, but something was left out, or a check failed; it is listed.
EXCLUDED = 3

CacheOption = Annotated[
    Path | None,
    typer.Option(help="Folder of prepared slices and features that runs share."),
]
WeightsCacheOption = Annotated[
    Path | None, typer.Option(help="Cache folder, for the trunk's converted weights.")
]
WeightsOption = Annotated[
    Path | None, typer.Option(help="File of the trunk's weights (.onnx or .safetensors).")
]
JobsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Scans prepared at a time; by default what cores and memory allow."),
]
TrustedKeyOption = Annotated[
    str | None,
    typer.Option(help="Public key (hex or PEM file) that must have signed the bundle."),
]
AllowProgramsOption = Annotated[
    bool,
    typer.Option(
        "--allow-programs",
        help="Let a bundle that --trusted-key has not signed start the program for brain "
        "extraction that it names.",
    ),
]
GivenBundle = Annotated[
    Path, typer.Argument(help="Folder or zip of a bundle.", metavar="BUNDLE", exists=True)
]
