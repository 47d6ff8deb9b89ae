"""StageRecord: inputs, outputs and settings of a stage."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mri_transfer.core.files import sha256_of_file, write_json
from mri_transfer.version import __version__
from pipelines.workspace import Workspace

__all__ = [
    "StageRecord",
    "file_digests",
    "git_commit",
    "package_versions",
    "recorded_specs",
]

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
    scans: dict[str, str] | None = None
    """Digest of each source scan by scan_id, for stages that read them."""
    unsettled: dict[str, str] = dataclasses.field(default_factory=dict)
    """Scans whose exclusion a later run may revise: see `pipelines.unsettled`."""

    def write(self, workspace: Workspace) -> None:
        """Write the record into the run folder."""
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
        """Read a stage's record, or return None if it is missing or unreadable."""
        try:
            values = json.loads(workspace.record(stage).read_text(encoding="utf-8"))
            if values["schema"] != _SCHEMA or values["mri_transfer"] != __version__:
                return None
            values = {"scans": None, "unsettled": {}, **values}
            record = cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})
            return record if record._is_sound() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _is_sound(self) -> bool:
        """Return whether the record has the expected types, as it may have been edited."""
        digests = [self.inputs, self.outputs, self.scans or {}, self.unsettled]
        return isinstance(self.specs, dict) and all(
            isinstance(entries, dict) and all(isinstance(value, str) for value in entries.values())
            for entries in digests
        )


def recorded_specs(seed: int, specs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stage's settings as in its record: with the seed, as JSON values."""
    return dict(json.loads(json.dumps({"seed": seed, **specs})))


def file_digests(workspace: Workspace, paths: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of each existing file, by its path in the run folder."""
    return {
        path.relative_to(workspace.root).as_posix(): sha256_of_file(path)
        for path in sorted(paths)
        if path.is_file()
    }


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that affect results."""
    return {name: metadata.version(name) for name in _PACKAGES}


def git_commit() -> str | None:
    """Return the commit of a source checkout, or None for an installed package."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
