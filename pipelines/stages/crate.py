"""What the stages of a run recorded, for the description of its folder."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mri_transfer.core.files import read_json_object
from mri_transfer.report.pages.crate import RecordedStage, write_crate
from mri_transfer.version import __version__
from pipelines.names import STAGE_HELP
from pipelines.record import git_commit, package_versions
from pipelines.workspace import Workspace

__all__ = ["recorded_paths", "write_run_crate"]

_DESCRIPTION = (
    "A run of mri-transfer: what was made from the scans of a cohort by slices, features, folds "
    "and heads, how well it tells the labels apart, and the report. The scans themselves are not "
    "part of it. Research use only."
)


def recorded_paths(workspace: Workspace) -> list[Path]:
    """Return every file that a stage before the report read or wrote and that is still there."""
    names = {name for record in _records(workspace).values() for name in _paths(record)}
    return [path for name in sorted(names) if (path := workspace.root / name).is_file()]


def write_run_crate(
    workspace: Workspace, *, title: str, inputs: Iterable[Path], outputs: Iterable[Path]
) -> None:
    """Describe the run folder.

    Parameters
    ----------
    workspace : Workspace
    title : str
    inputs, outputs : iterable of Path
        What the report, whose own record is written last, has read and written.
    """
    stages = [_stage(name, record) for name, record in _records(workspace).items()]
    report = RecordedStage(
        name="report",
        inputs=_relative(workspace, inputs),
        outputs=_relative(workspace, outputs),
        version=__version__,
        commit=git_commit(),
        packages={"python": platform.python_version(), **package_versions()},
    )
    write_crate(workspace.root, [*stages, report], title=title, description=_DESCRIPTION)


def _records(workspace: Workspace) -> dict[str, Mapping[str, Any]]:
    """Return the record of each stage before the report that has one, in their order."""
    found = {name: read_json_object(workspace.record(name)) for name in STAGE_HELP}
    return {name: one for name, one in found.items() if one is not None and name != "report"}


def _paths(record: Mapping[str, Any]) -> list[str]:
    return [*record["inputs"], *record["outputs"]]


def _stage(name: str, record: Mapping[str, Any]) -> RecordedStage:
    return RecordedStage(
        name=name,
        inputs=tuple(record["inputs"]),
        outputs=tuple(record["outputs"]),
        version=record["mri_transfer"],
        commit=record["git_commit"],
        packages={"python": record["python"], **record["versions"]},
        started=record["started"],
        seconds=record["seconds"],
    )


def _relative(workspace: Workspace, paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(path.relative_to(workspace.root).as_posix() for path in paths)
