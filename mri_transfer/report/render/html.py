"""The report as one HTML page that carries everything it shows and asks nothing of a network."""

from __future__ import annotations

import itertools
from pathlib import Path

from mri_transfer.core.files import atomic_write_text
from mri_transfer.report.blocks.report import Report
from mri_transfer.report.render.pages import render_page
from mri_transfer.report.render.views import Views

__all__ = ["render_report", "write_report"]


def render_report(report: Report) -> str:
    """Return the report as one self-contained HTML page.

    Parameters
    ----------
    report : Report

    Returns
    -------
    str
        HTML with inlined style, figures (SVG), pictures and files to save. It loads nothing, and
        everything but searching, sorting and filtering works without its one script. The same
        report makes the same text.

    Raises
    ------
    RunFolderError
        If a link leads neither to a section nor to a file beside the report.
    """
    views = Views()
    return render_page(
        "page.html.jinja",
        script="explore.js",
        report=report,
        front=views.front(report.front),
        parts=[
            {"layer": layer, "sections": list(sections)}
            for layer, sections in itertools.groupby(
                (views.section(section) for section in report.sections),
                key=lambda view: view["section"].layer,
            )
        ],
        layered=len({section.layer for section in report.sections}) > 1,
    )


def write_report(report: Report, path: Path) -> None:
    """Write the page of a report; the file appears whole or not at all.

    Parameters
    ----------
    report : Report
    path : Path
        The page to write, usually `report/index.html` of a run.
    """
    atomic_write_text(path, render_report(report))
