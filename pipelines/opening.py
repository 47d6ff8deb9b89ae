"""Open a run folder; what is wrong with it is known before anything heavy is imported."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mri_transfer.core.files import atomic_write_text
from mri_transfer.errors import RunFolderError
from pipelines.config import RunConfig, config_toml, read_config
from pipelines.workspace import Workspace, default_cache

__all__ = ["keep_scans", "keep_scans_of", "open_run", "write_config"]


def keep_scans(config: RunConfig, scan_ids: Sequence[str]) -> RunConfig:
    """Return the configuration with some scans kept whatever their quality."""
    keep = tuple(dict.fromkeys((*config.quality.keep, *scan_ids)))
    quality = dataclasses.replace(config.quality, keep=keep)
    return dataclasses.replace(config, quality=quality)


def keep_scans_of(out: Path, config: RunConfig) -> RunConfig:
    """Return the configuration with the scans that an existing run folder keeps."""
    begun = Workspace(root=out, cache=default_cache()).config
    return keep_scans(config, read_config(begun).quality.keep) if begun.is_file() else config


def write_config(workspace: Workspace, config: RunConfig) -> None:
    """Write the resolved configuration into the run folder."""
    atomic_write_text(workspace.config, config_toml(config))


def open_run(out: Path, *, cache: Path | None = None) -> tuple[Workspace, RunConfig]:
    """Open a run folder that `begin_run` set up.

    Raises
    ------
    RunFolderError
        If it is not a run folder.
    """
    workspace = Workspace(root=out, cache=cache or default_cache())
    if not workspace.config.is_file():
        raise RunFolderError(
            "not a run folder: config.toml is missing",
            where=str(out),
            remedy=f"Create one with `mri-transfer run --manifest M.csv --out {out}`",
        )
    return workspace, read_config(workspace.config)
