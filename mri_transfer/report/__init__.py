"""The report of a run and its quality pages: what they show, and the pages made of it."""

from mri_transfer.report.html import render_report, write_report
from mri_transfer.report.model import Montage, ReportInputs
from mri_transfer.report.quality_pages import (
    page_name,
    worst_first,
    write_quality_index,
    write_scan_page,
)

__all__ = [
    "Montage",
    "ReportInputs",
    "page_name",
    "render_report",
    "worst_first",
    "write_quality_index",
    "write_report",
    "write_scan_page",
]
