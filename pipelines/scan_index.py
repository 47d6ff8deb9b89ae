"""Digests of a run's source scans; a file that has not changed since is not read again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import read_json_object, sha256_of_file, write_json
from mri_transfer.errors import ManifestError
from pipelines.workspace import Workspace

__all__ = ["scan_digests"]


def scan_digests(workspace: Workspace) -> dict[str, str]:
    """Return the SHA-256 of the file of each scan in a run's manifest, by scan_id.

    A scan whose file is missing or cannot be read is left out. As make and git do, a file of the
    same size and time of change as before is taken for the same; `records/scans.json` keeps these.
    """
    try:
        scans = read_manifest(workspace.source_manifest, check_files=False).scans
    except (ManifestError, OSError):
        return {}
    known = read_json_object(workspace.scan_index) or {}
    seen: dict[str, list[Any]] = {}
    for path in scans["path"]:
        with contextlib.suppress(OSError):
            status = Path(path).stat()
            stamp = [status.st_size, status.st_mtime_ns]
            match known.get(path):
                case [size, changed, str(digest)] if [size, changed] == stamp:
                    seen[path] = [*stamp, digest]
                case _:
                    seen[path] = [*stamp, sha256_of_file(path)]
    if seen != known:
        # Where nobody may write, files are read every time.
        with contextlib.suppress(OSError):
            write_json(workspace.scan_index, seen)
    return {
        str(scan_id): str(seen[path][2])
        for scan_id, path in zip(scans["scan_id"], scans["path"], strict=True)
        if path in seen
    }
