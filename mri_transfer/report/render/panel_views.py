"""Patients on the page: a row each, the sheet of their slices, and both as tables to save."""

from __future__ import annotations

from typing import Any

from mri_transfer.report.blocks.cells import percent
from mri_transfer.report.blocks.document import PatientPanel, PatientPanels, Row, SliceSheet, Table
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.render.downloads import data_source
from mri_transfer.report.tables.cohort import title_of

__all__ = ["panels_table", "patient_rows", "sheet_table", "sheet_view"]

View = dict[str, Any]

#: More covariates than these would leave no room for the score; the others stand in the panel.
_SHOWN_COVARIATES = 3
_FIRST_COVARIATES = ("age", "sex", "site")


def patient_rows(block: PatientPanels) -> tuple[list[str], list[View]]:
    """Return the covariates that have a column, and a row per patient.

    Parameters
    ----------
    block : PatientPanels

    Returns
    -------
    covariates : list of str
        As words; age, sex and site first; none that is empty throughout.
    rows : list of dict
        What the template shows of each patient but the blocks that unfold.
    """
    names = _covariates(block)
    titles = [title_of(name) for name in names[:_SHOWN_COVARIATES]]
    return titles, [_patient_row(block, panel, names) for panel in block.panels]


def _covariates(block: PatientPanels) -> list[str]:
    found = dict.fromkeys(
        name for panel in block.panels for name, value in panel.covariates.items() if value
    )
    first = [name for name in _FIRST_COVARIATES if name in found]
    return first + [name for name in found if name not in first]


def _patient_row(block: PatientPanels, panel: PatientPanel, names: list[str]) -> View:
    right = panel.called == panel.label
    values = [panel.covariates.get(name, "") for name in names]
    others = names[_SHOWN_COVARIATES:]
    return {
        "panel": panel,
        "right": right,
        "threshold": f"threshold {panel.threshold}" if panel.threshold else "",
        "positive": panel.label == block.labels[1],
        "score": number(panel.score, 2),
        "interval": f"{number(panel.score_low, 2)} to {number(panel.score_high, 2)}",
        "ventricles": _ventricles(panel),
        "low": _place(panel.score_low),
        "high": _place(panel.score_high),
        "at": _place(panel.score),
        "repeats": f"called {panel.label} in {percent(panel.share_right)} of the repeats",
        "covariates": values[:_SHOWN_COVARIATES],
        "others": [(title_of(name), panel.covariates.get(name) or "not given") for name in others],
    }


def _ventricles(panel: PatientPanel) -> str:
    return "" if panel.ventricles is None else percent(panel.ventricles)


def _place(score: float) -> str:
    """Return where a score stands on its bar."""
    return f"{100 * score:.1f}%"


def panels_table(block: PatientPanels) -> Table:
    """Return the patients as one table of text, all covariates included.

    Parameters
    ----------
    block : PatientPanels

    Returns
    -------
    Table
        A row per patient, in the order of the panels.
    """
    names = _covariates(block)
    columns = (
        "Patient", "Label", "Score", "Lowest", "Highest", "Threshold", "Called", "Right in",
        "Ventricles, percentile", "Quality", "Quality, why", *names,
    )  # fmt: skip
    rows = [
        Row(
            panel.patient_id,
            (
                panel.label,
                *(number(v) for v in (panel.score, panel.score_low, panel.score_high)),
                panel.threshold,
                panel.called,
                percent(panel.share_right),
                _ventricles(panel),
                panel.quality,
                panel.quality_note,
                *(panel.covariates.get(name, "") for name in names),
            ),
        )
        for panel in block.panels
    ]
    return Table(caption=block.caption, columns=columns, rows=tuple(rows), name="patients")


def sheet_view(sheet: SliceSheet) -> View:
    """Return what is written over the sheet of slices.

    Parameters
    ----------
    sheet : SliceSheet

    Returns
    -------
    dict
        `source`, `overlay`, `limit` of the colours, `n_rows`, and `tiles` with height, score and
        the length and side of the bar: the slice with the largest share fills half its width.
    """
    largest = max((abs(share) for share in sheet.attributions), default=0.0) or 1.0
    tiles = []
    for i, (z, score) in enumerate(zip(sheet.z_mm, sheet.scores, strict=True)):
        share = sheet.attributions[i] if sheet.attributions else None
        bar = None
        if share is not None:
            bar = {"length": f"{50 * abs(share) / largest:.1f}%", "positive": share >= 0}
        text = "" if score is None else number(score, 2)
        tiles.append({"z": number(z, 0), "score": text, "bar": bar})
    return {
        "source": data_source(sheet.picture.content, sheet.picture.media_type),
        "overlay": None
        if sheet.overlay is None
        else data_source(sheet.overlay.content, sheet.overlay.media_type),
        "limit": f"{sheet.limit:.2g}" if sheet.overlay is not None and sheet.limit else "",
        "n_rows": -(-sheet.n_slices // sheet.columns),
        "tiles": tiles,
    }


def sheet_table(sheet: SliceSheet) -> Table:
    """Return height, score and share of each slice as a table of text.

    Parameters
    ----------
    sheet : SliceSheet

    Returns
    -------
    Table
        A row per slice.
    """
    shares = sheet.attributions
    columns = ("Slice", "z, mm", "Score", *(["Share of the log-odds"] if shares else []))
    rows = [
        Row(
            str(i + 1),
            (
                number(z, 1),
                "" if score is None else number(score),
                *([number(shares[i], 4)] if shares else []),
            ),
        )
        for i, (z, score) in enumerate(zip(sheet.z_mm, sheet.scores, strict=True))
    ]
    caption = f"{sheet.picture.caption} In numbers."
    return Table(caption=caption, columns=columns, rows=tuple(rows), name=sheet.picture.name)
