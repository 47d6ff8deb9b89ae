"""One page a patient: every scan at full resolution in three planes, earlier ones beside later."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mri_transfer.core.files import atomic_write_text
from mri_transfer.report.figures.mosaic import Mosaic
from mri_transfer.report.figures.tiles import Orientation
from mri_transfer.report.render.downloads import data_source
from mri_transfer.report.render.pages import render_page

__all__ = ["ShownScan", "write_volume_page"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownScan:
    """A scan of a patient, ready to be shown.

    Attributes
    ----------
    scan_id : str
    mosaic : Mosaic
    """

    scan_id: str
    mosaic: Mosaic


def write_volume_page(
    path: Path,
    *,
    patient_id: str,
    label: str,
    scans: Sequence[ShownScan],
    orientation: Orientation,
) -> None:
    """Write the page of a patient; it appears whole or not at all, and asks nothing of a network.

    Parameters
    ----------
    path : Path
        In a folder beside the report, to which the page links.
    patient_id, label : str
    scans : sequence of ShownScan
        The earliest first; sliders move through all of them together, by millimetres.
    orientation : {"radiological", "neurological"}
    """
    text = render_page(
        "volume.html.jinja",
        styles=("style.css", "volume.css"),
        script="volume.js",
        patient_id=patient_id,
        label=label,
        orientation=orientation,
        scans=[_view(scan) for scan in scans],
    )
    atomic_write_text(path, text)


def _view(scan: ShownScan) -> dict[str, Any]:
    mosaic = scan.mosaic
    return {
        "scan_id": scan.scan_id,
        "source": data_source(mosaic.content, "image/webp"),
        "shape": " ".join(map(str, mosaic.shape)),
        "columns": mosaic.columns,
        "spacing": " ".join(f"{step:g}" for step in mosaic.spacing_mm),
        "origin": " ".join(f"{place:g}" for place in mosaic.origin_mm),
        "size": " \u00d7 ".join(f"{step:.2g}" for step in mosaic.spacing_mm),
    }
