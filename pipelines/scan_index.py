"""Digests of a run's source scans; unchanged files are not read again."""

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
    """Return the SHA-256 of each scan's file in a run's manifest, by scan_id.

    Scans with missing or unreadable files are left out. As in make and git, a file with the same
    size and modification time is considered unchanged; `records/scans.json` stores these.
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
        # In read-only folders, files are read every time.
        with contextlib.suppress(OSError):
            write_json(workspace.scan_index, seen)
    return {
        str(scan_id): str(seen[path][2])
        for scan_id, path in zip(scans["scan_id"], scans["path"], strict=True)
        if path in seen
    }
