"""The pages that show every scan with its quality, worst first; a part of the prepare stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mri_transfer.report.blocks.page_names import page_name
from mri_transfer.report.figures import PictureStore, picture_key
from mri_transfer.report.pages.quality_pages import (
    worst_first,
    write_quality_index,
    write_scan_page,
)
from mri_transfer.scans.preparation import PreparedStore
from mri_transfer.scans.quality import ScanQuality

__all__ = ["write_quality_pages"]


def write_quality_pages(
    folder: Path,
    qualities: Sequence[ScanQuality],
    *,
    cache: Path,
    keys: Mapping[str, str],
    paths: Mapping[str, str],
) -> None:
    """Write a page a scan and the index.

    Parameters
    ----------
    folder : Path
        Gets ``index.html`` and ``scans/``.
    qualities : sequence of ScanQuality
    cache : Path
        Holds the pictures.
    keys, paths : mapping
        Each scan's key of preparation and its file.
    """
    pictures, prepared = PictureStore(cache), PreparedStore(cache)
    ordered = worst_first(qualities)
    names = [quality.scan_id for quality in ordered]
    thumbnails = {}
    for i, quality in enumerate(ordered):
        drawn = pictures.get(picture_key(keys[quality.scan_id]))
        thumbnails[quality.scan_id] = drawn.pop("thumbnail")
        steps = prepared.facts(keys[quality.scan_id])["steps"]
        write_scan_page(
            folder / "scans" / page_name(quality.scan_id),
            quality,
            drawn,
            {
                "File": paths[quality.scan_id],
                "Preparation": "; ".join(steps) or "none: it was ready as it came",
            },
            before=names[i - 1] if i else None,
            after=names[i + 1] if i + 1 < len(names) else None,
        )
    write_quality_index(folder / "index.html", qualities, thumbnails=thumbnails)
