"""The table of `new_site`."""

from pathlib import Path


def write_table(folder: Path, out: Path | None) -> None: ...
