"""The report of a run: its model, and the page made of it."""

from mri_transfer.report.html import render_report, write_report
from mri_transfer.report.model import Montage, ReportInputs

__all__ = ["Montage", "ReportInputs", "render_report", "write_report"]
