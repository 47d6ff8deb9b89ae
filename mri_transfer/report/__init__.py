"""The report of a run and its quality pages: what they show, and the pages made of it."""

from mri_transfer.report.blocks.page_names import page_name
from mri_transfer.report.inputs import Provenance, ReportInputs, ReportSettings
from mri_transfer.report.pages.quality_pages import (
    worst_first,
    write_quality_index,
    write_scan_page,
)
from mri_transfer.report.render.html import render_report, write_report
from mri_transfer.report.render.pdf import PrintSpec, render_pdf, write_pdf

__all__ = [
    "PrintSpec",
    "Provenance",
    "ReportInputs",
    "ReportSettings",
    "page_name",
    "render_pdf",
    "render_report",
    "worst_first",
    "write_pdf",
    "write_quality_index",
    "write_report",
    "write_scan_page",
]
