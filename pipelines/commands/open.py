"""`mri-transfer open`: show the report of a run, a study or a test in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import open_console

__all__ = ["open_"]

#: Where the commands write their pages, in their output folders.
_PAGES = ("report/index.html", "index.html", "run/report/index.html")


def open_(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Run folder, or the output folder of another command with a page."
        ),
    ],
    show: Annotated[
        bool, typer.Option("--show/--print", help="Open it in a browser, or only print its URL.")
    ] = True,
) -> None:
    """Open the report of a run in a browser."""
    from mri_transfer.errors import RunFolderError

    page = next((folder / name for name in _PAGES if (folder / name).is_file()), None)
    if page is None:
        raise RunFolderError(
            "no report",
            where=str(folder),
            expected=_PAGES[0],
            remedy=f"Write it with `mri-transfer report {folder}`",
        )
    url = page.resolve().as_uri()
    open_console().print(url, markup=False)
    if show and typer.launch(url) != 0:
        raise RunFolderError(
            "no browser could be started", where=url, remedy="Open the URL in a browser"
        )
