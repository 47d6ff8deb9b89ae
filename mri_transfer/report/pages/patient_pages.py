"""All patients of a large cohort, some hundred a page; the report itself shows a few of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.report.blocks.cells import percent
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.render.pages import render_page
from mri_transfer.report.tables.cohort import title_of
from mri_transfer.report.tables.panels import covariate_text
from mri_transfer.report.tables.patient_results import (
    FIRST_PATIENT_PAGE,
    PatientResult,
    patient_results,
    shown_results,
)

__all__ = ["write_patient_pages"]

_ROWS = 500
_COVARIATES = ("age", "sex", "site")


def write_patient_pages(inputs: ReportInputs, folder: Path) -> list[Path]:
    """Write the pages of a cohort of which the report shows only some patients.

    Parameters
    ----------
    inputs : ReportInputs
    folder : Path
        Of the report; pages go into `patients/` inside it. Pages left over there are removed.

    Returns
    -------
    list of Path
        None where the report shows every patient.
    """
    results = patient_results(inputs)
    written: list[Path] = []
    pages_folder = (folder / FIRST_PATIENT_PAGE).parent
    if len(shown_results(results)) < len(results):
        parts = [results[i : i + _ROWS] for i in range(0, len(results), _ROWS)]
        pages = [
            {"number": i, "file": f"{i}.html", "first": part[0].patient_id}
            for i, part in enumerate(parts, start=1)
        ]
        for i, part in enumerate(parts, start=1):
            text = _page(inputs, part, page=i, pages=pages, n_patients=len(results))
            written.append(pages_folder / f"{i}.html")
            atomic_write_text(written[-1], text)
    for left_over in set(pages_folder.glob("*.html")) - set(written):
        left_over.unlink()
    return written


def _page(
    inputs: ReportInputs,
    results: Sequence[PatientResult],
    *,
    page: int,
    pages: Sequence[dict[str, Any]],
    n_patients: int,
) -> str:
    known = inputs.patients.set_axis(inputs.patients.index.astype(str))
    names = [name for name in _COVARIATES if name in known]
    start = _ROWS * (page - 1)
    return render_page(
        "patient_list.html.jinja",
        page=page,
        n_pages=len(pages),
        pages=pages,
        first=start + 1,
        last=start + len(results),
        n_patients=n_patients,
        labels=inputs.task.labels,
        covariates=[title_of(name) for name in names],
        rows=[_row(inputs, result, known, names) for result in results],
    )


def _row(
    inputs: ReportInputs, result: PatientResult, known: pd.DataFrame, names: Sequence[str]
) -> dict[str, Any]:
    own: Mapping[Any, Any] = {}
    if result.patient_id in known.index:
        own = known.loc[result.patient_id].to_dict()
    page = inputs.volume_pages.get(result.patient_id)
    return {
        "patient_id": result.patient_id,
        "label": result.label,
        "score": number(result.score, 2),
        "interval": f"{number(result.low, 2)} to {number(result.high, 2)}",
        "called": result.called,
        "right": result.called == result.label,
        "share": percent(result.share_right),
        "page": None if page is None or inputs.pseudonymous else f"../{page}",
        "covariates": [
            covariate_text(name, own[name], pseudonymous=inputs.pseudonymous) if own else ""
            for name in names
        ],
    }
