"""Describe the differences between settings and between manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mri_transfer.cohorts.manifest.manifest import Manifest

__all__ = ["affects_results", "changed_scans", "changed_settings", "flat_settings"]

#: How the report is printed, and where the work is done, contradict no figure.
_WITHOUT_EFFECT = ("report.", "executor.")
#: Number of differing scans listed.
_SHOWN = 3


def flat_settings(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the JSON of nested settings by `section.key`."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value)
    return flat


def affects_results(name: str) -> bool:
    """Return whether results depend on a setting, given as `section.key`."""
    return not name.startswith(_WITHOUT_EFFECT)


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the settings that differ, each with its old and new value; `none` if missing."""
    before, after = flat_settings(old), flat_settings(new)
    return {
        name: (before.get(name, "none"), after.get(name, "none"))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }


def changed_scans(old: Manifest, new: Manifest) -> list[str]:
    """Return a few lines on the differences between two manifests; empty if they are the same.

    Paths are not compared, as a cohort may be moved. The files' content is in the record of the
    stage that reads them.
    """
    before, after = _rows(old), _rows(new)
    lines = [
        f"{count} {'scan' if count == 1 else 'scans'} {what} ({_some(names)})"
        for what, names in (
            ("more", sorted(after.keys() - before.keys())),
            ("fewer", sorted(before.keys() - after.keys())),
        )
        if (count := len(names))
    ]
    cells = [
        f"{column} of {name}: {row[column] or 'empty'} -> {after[name][column] or 'empty'}"
        for name, row in before.items()
        if name in after
        for column in row
        if column in after[name] and row[column] != after[name][column]
    ]
    if alone := sorted(set(old.scans.columns) ^ set(new.scans.columns)):
        lines.append(f"columns in only one of the manifests: {', '.join(alone)}")
    if cells:
        lines.append(f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}: {_some(cells)}")
    if not lines and list(before) != list(after):
        lines.append("the order of the scans")
    return lines


def _rows(manifest: Manifest) -> dict[str, dict[str, str]]:
    scans = manifest.scans.drop(columns="path")
    table = scans.astype(object).where(scans.notna(), "")
    return {
        str(row["scan_id"]): {str(name): str(cell) for name, cell in row.items()}
        for row in table.to_dict("records")
    }


def _some(names: list[str]) -> str:
    more = "" if len(names) <= _SHOWN else f" and {len(names) - _SHOWN} more"
    return "; ".join(names[:_SHOWN]) + more
