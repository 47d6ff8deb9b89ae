"""StageRecord: what a stage read, wrote and ran with, and whether that still holds."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mri_transfer.files import sha256_of_file, write_json
from mri_transfer.version import __version__
from pipelines.unsettled import unchanged
from pipelines.workspace import Workspace

__all__ = ["StageRecord", "file_digests", "git_commit", "package_versions"]

_SCHEMA = "mri-transfer/record/1"
_PACKAGES = (
    "monai",
    "nibabel",
    "numpy",
    "pandas",
    "safetensors",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "statsmodels",
    "torch",
    "torchvision",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageRecord:
    """One stage's record (`records/<stage>.json`)."""

    stage: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    specs: dict[str, Any]
    seed: int
    seconds: float
    started: str
    exclusions: int = 0
    unsettled: dict[str, str] = dataclasses.field(default_factory=dict)

    def write(self, workspace: Workspace) -> None:
        """Write the record beside what it describes."""
        write_json(
            workspace.record(self.stage),
            {
                "schema": _SCHEMA,
                "mri_transfer": __version__,
                "python": platform.python_version(),
                "machine": platform.machine(),
                "versions": package_versions(),
                "git_commit": git_commit(),
                **dataclasses.asdict(self),
            },
        )

    @classmethod
    def read(cls, workspace: Workspace, stage: str) -> StageRecord | None:
        """Read a stage's record, or None if there is none that can be read."""
        try:
            values = json.loads(workspace.record(stage).read_text(encoding="utf-8"))
            if values["schema"] != _SCHEMA or values["mri_transfer"] != __version__:
                return None
            return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def holds(self, workspace: Workspace, *, inputs: Sequence[Path], specs: Any) -> bool:
        """Whether inputs, outputs and specs are still those of the record, and refusals stand."""
        return (
            unchanged(self.unsettled)
            and self.specs == json.loads(json.dumps(specs))
            and self.inputs == file_digests(workspace, inputs)
            and self.outputs == file_digests(workspace, [workspace.root / f for f in self.outputs])
        )


def file_digests(workspace: Workspace, paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file that exists, by its name in the run folder."""
    return {
        path.relative_to(workspace.root).as_posix(): sha256_of_file(path)
        for path in sorted(paths)
        if path.is_file()
    }


def package_versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on."""
    return {name: metadata.version(name) for name in _PACKAGES}


def git_commit() -> str | None:
    """Return the commit of a source checkout, or None for an installed package."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
