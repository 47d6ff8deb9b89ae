"""`mri-transfer doctor`: what is installed here."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.options import CacheOption, WeightsOption
from pipelines.console import open_console

__all__ = ["doctor"]


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
