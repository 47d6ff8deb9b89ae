"""Made-up scans for the pages in three planes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mri_transfer.report.figures.mosaic import volume_mosaic
from mri_transfer.report.figures.tiles import Orientation
from mri_transfer.report.pages.volume_pages import ShownScan, write_volume_page


def write_page(
    path: Path,
    *,
    patient_id: str = "P1",
    scan_ids: tuple[str, ...] = ("P1_s1", "P1_s2"),
    orientation: Orientation = "neurological",
) -> None:
    """Write the page of a patient whose heads are bright on their right half alone."""
    voxels = np.full((40, 60, 30), 60.0, dtype=np.float32)
    voxels[20:] = 200.0
    affine = np.eye(4)
    affine[:3, 3] = (-20, -30, -10)
    mosaic = volume_mosaic(voxels, affine, (1.0, 1.0, 1.0))
    write_volume_page(
        path,
        patient_id=patient_id,
        label="AD",
        scans=[ShownScan(scan_id=scan_id, mosaic=mosaic) for scan_id in scan_ids],
        orientation=orientation,
    )
