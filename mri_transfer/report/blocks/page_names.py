"""The file names of pages."""

from __future__ import annotations

import hashlib
import re

__all__ = ["page_name"]


def page_name(scan_id: str) -> str:
    """Return the file name of a scan's page.

    Parameters
    ----------
    scan_id : str
        Any text.

    Returns
    -------
    str
        ASCII letters, digits, dots, dashes and underscores, ending in `.html`, at most 80
        characters. What tells scans apart is a digest at its end, so that two scans never share a
        page, not even where file names ignore case.
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", scan_id).strip("-.")[:60]
    digest = hashlib.sha256(scan_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{readable or 'scan'}-{digest}.html"
