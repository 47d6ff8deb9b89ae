"""Scans that are in a cohort twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

__all__ = ["identical_files"]


def identical_files(scan_ids: Sequence[str], sha256: Sequence[str]) -> list[list[str]]:
    """Group scans whose files have the same bytes.

    Parameters
    ----------
    scan_ids, sha256 : sequence of str
        Each scan and the digest of its file.

    Returns
    -------
    list of list of str
        Groups of two or more scans, sorted.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for scan_id, digest in zip(scan_ids, sha256, strict=True):
        groups[digest].append(scan_id)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)
