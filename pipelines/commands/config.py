"""`mri-transfer config`: which settings there are, and what each of them means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from pipelines.console import open_console

__all__ = ["config"]


def _names(incomplete: str) -> Iterator[str]:
    """Complete sections and settings."""
    from pipelines.config_help import described_settings

    known = list(described_settings())
    sections = dict.fromkeys(name.partition(".")[0] for name in known)
    yield from (name for name in [*sections, *known] if name.startswith(incomplete))


def config(
    list_: Annotated[
        bool, typer.Option("--list", help="List all settings with their default values.")
    ] = False,
    explain: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            autocompletion=_names,
            help="Explain a setting, such as heads.zones, or all settings of a section, such as "
            "heads; repeatable.",
        ),
    ] = None,
) -> None:
    """List the settings of a run, or explain some of them."""
    from mri_transfer.errors import ConfigurationError

    if not list_ and not explain:
        raise ConfigurationError(
            "nothing to show", where="config", expected="--list, or --explain KEY"
        )
    from pipelines.config_help import described_settings, explain_setting

    lines = [line for name in explain or () for line in explain_setting(name)]
    if list_:
        lines += [
            f"{one.name} = {one.default or '(unset)'}" + (f"  # {one.kind}" if one.kind else "")
            for settings in described_settings().values()
            for one in settings
        ]
    console = open_console()
    for line in lines:
        console.print(line, markup=False)
