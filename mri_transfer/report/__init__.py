"""The report of a run and its quality pages: what they show, and the pages made of it."""

from mri_transfer.report.html import render_report, write_report
from mri_transfer.report.machine import report_document, write_machine
from mri_transfer.report.model import ReportInputs
from mri_transfer.report.pdf import PrintSpec, render_pdf, write_pdf
from mri_transfer.report.quality_pages import (
    page_name,
    worst_first,
    write_quality_index,
    write_scan_page,
)

__all__ = [
    "PrintSpec",
    "ReportInputs",
    "page_name",
    "render_pdf",
    "render_report",
    "report_document",
    "worst_first",
    "write_machine",
    "write_pdf",
    "write_quality_index",
    "write_report",
    "write_scan_page",
]
