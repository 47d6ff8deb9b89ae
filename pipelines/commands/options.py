"""Options and exit codes shared by several commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "EXCLUDED",
    "AllowProgramsOption",
    "CacheOption",
    "ConfigOption",
    "GivenBundle",
    "JobsOption",
    "KeepOption",
    "ManifestOption",
    "OutFolder",
    "RunFolder",
    "SetOption",
    "SignOption",
    "TrustedKeyOption",
    "VerboseOption",
    "WeightsCacheOption",
    "WeightsOption",
    "ZipOption",
]

#: Exit code: success, but scans were excluded or a check failed; they are listed.
EXCLUDED = 3


def _settings(incomplete: str) -> Iterator[str]:
    """Complete `section.key=`."""
    from pipelines.config_help import described_settings

    for name in described_settings():
        if name.startswith(incomplete):
            yield f"{name}="


ConfigOption = Annotated[
    Path | None,
    typer.Option(help="TOML file, or a shipped configuration: hon_khan_2017.toml."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=_settings,
        help="Set one option, such as heads.kind=attention; repeatable. `mri-transfer config "
        "--list` shows all.",
    ),
]
ManifestOption = Annotated[Path, typer.Option(help="Manifest of the cohort (.csv).")]
OutFolder = Annotated[
    Path,
    typer.Option("--out", metavar="FOLDER", help="Folder to write to; created if missing."),
]
RunFolder = Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")]
KeepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keep", help="Keep this scan whatever its quality; repeatable. The choice is recorded."
    ),
]
VerboseOption = Annotated[
    bool | None,
    typer.Option(
        "--verbose/--quiet",
        "-v/-q",
        help="Show details, such as why a stage runs; or nothing but results and errors.",
        show_default=False,
    ),
]
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
ZipOption = Annotated[bool, typer.Option("--zip", help="Also write the bundle as a zip.")]
SignOption = Annotated[
    Path | None,
    typer.Option(
        help="Ed25519 private key (PEM) for signing, as written by `openssl genpkey -algorithm "
        "ed25519`; without it the bundle only has a digest."
    ),
]
