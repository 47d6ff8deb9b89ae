"""The pages that show patients' scans in three planes; a part of the report stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mri_transfer.errors import RunFolderError
from mri_transfer.report import ReportInputs
from mri_transfer.report.blocks.page_names import page_name
from mri_transfer.report.figures.mosaic import volume_mosaic
from mri_transfer.report.pages.volume_pages import ShownScan, write_volume_page
from mri_transfer.report.tables.panels import sheet_order
from mri_transfer.report.tables.patient_results import patient_results
from mri_transfer.scans.volumes import VolumeSpec
from pipelines.indexes import load_prepared, read_prepared_index
from pipelines.stage import Context

__all__ = ["write_volume_pages"]

_FOLDER = "volumes"


def write_volume_pages(inputs: ReportInputs, context: Context) -> dict[str, Path]:
    """Write a page a patient, of at most `report.volumes` patients.

    Parameters
    ----------
    inputs : ReportInputs
    context : Context
        Pages go into `volumes/` beside its report.

    Returns
    -------
    dict of str to Path
        The page of each patient who has one. A patient with a scan that is no longer in the cache,
        or whose file has changed, gets none, and a note says so.
    """
    workspace, config = context.workspace, context.config
    results = patient_results(inputs)
    index = {row["scan_id"]: row for row in read_prepared_index(workspace)}
    scans: dict[str, list[str]] = {}
    for scan_id in sheet_order(inputs, results):
        scans.setdefault(index[scan_id]["patient_id"], []).append(scan_id)
    label_of = {result.patient_id: result.label for result in results}
    folder = workspace.report.parent / _FOLDER
    pages = {}
    for patient_id in list(scans)[: config.report.volumes]:
        try:
            shown = [_shown(index[scan_id], config.volumes) for scan_id in scans[patient_id]]
        except RunFolderError as error:
            context.reporter.note(f"report: no page in three planes of {patient_id}: {error}")
            continue
        pages[patient_id] = folder / page_name(patient_id)
        write_volume_page(
            pages[patient_id],
            patient_id=patient_id,
            label=label_of[patient_id],
            scans=shown,
            orientation=config.report.orientation,
        )
    for left_over in set(folder.glob("*.html")) - set(pages.values()):
        left_over.unlink()
    return pages


def _shown(scan: Mapping[str, str], spec: VolumeSpec) -> ShownScan:
    volume = load_prepared(scan, spec)
    mosaic = volume_mosaic(volume.voxels, volume.affine, volume.spacing_mm)
    return ShownScan(scan_id=scan["scan_id"], mosaic=mosaic)
