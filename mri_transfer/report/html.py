"""The report as one HTML page that carries everything it shows and asks nothing of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mri_transfer import figures
from mri_transfer.files import atomic_write_text
from mri_transfer.report import cohort, summary, tables
from mri_transfer.report.model import Montage, ReportInputs
from mri_transfer.report.pages import png_source, render_page
from mri_transfer.report.wording import count, number

__all__ = ["render_report", "write_report"]

_MONTAGE_COLUMNS = 8


def render_report(inputs: ReportInputs) -> str:
    """Return the report as one self-contained HTML page.

    Parameters
    ----------
    inputs : ReportInputs

    Returns
    -------
    str
        HTML with inlined style, figures (SVG) and pictures (PNG). It has no script, loads
        nothing, and is the same text for the same inputs.

    Raises
    ------
    KeyError
        If the evaluation lacks a part that its schema promises.
    """
    return render_page(
        "page.html.jinja",
        title=inputs.title,
        evaluation=inputs.evaluation,
        config=inputs.config,
        provenance=inputs.provenance,
        labels=inputs.labels,
        summary={
            "studied": summary.studied(inputs),
            "on_whom": summary.on_whom(inputs),
            "answer": summary.answer(inputs),
            "comparison": summary.comparison(inputs),
            "threshold": summary.threshold(inputs),
            "key_figures": summary.key_figures(inputs),
        },
        tables=_tables(inputs),
        flow=tables.flow(inputs),
        confusion=_confusion(inputs),
        figures=_figures(inputs),
        leakage=summary.leakage_sentences(inputs),
        audit=inputs.audit,
        montages=[_montage(montage) for montage in inputs.montages],
    )


def write_report(inputs: ReportInputs, path: Path) -> None:
    """Write the report; the file appears whole or not at all.

    Parameters
    ----------
    inputs : ReportInputs
    path : Path
        The page to write, usually `report/index.html` of a run.
    """
    atomic_write_text(path, render_report(inputs))


def _tables(inputs: ReportInputs) -> dict[str, tables.Table | None]:
    return {
        "cohort": cohort.cohort_table(inputs),
        "exclusion_counts": tables.exclusion_counts(inputs.excluded),
        "exclusions": tables.exclusion_list(inputs.excluded),
        "metrics": tables.metric_table(inputs),
        "slices": tables.slice_table(inputs),
        "repeats": tables.repeat_table(inputs),
        "folds": tables.fold_table(inputs),
        "patients": tables.patient_list(inputs),
        "baselines": tables.baseline_table(inputs) if inputs.evaluation.get("baselines") else None,
        "leakage": tables.leakage_table(inputs),
    }


def _figures(inputs: ReportInputs) -> dict[str, str]:
    """Draw what there are arrays for; a figure without data is left out, and the page says so."""
    evaluation, audit = inputs.evaluation, inputs.audit
    drawings: dict[str, Callable[[], str]] = {}
    if (evaluation.get("roc") or {}).get("fpr"):
        drawings["roc"] = lambda: figures.draw_roc(evaluation)
    if (evaluation.get("calibration") or {}).get("predicted"):
        drawings["calibration"] = lambda: figures.draw_calibration(evaluation)
    if len(inputs.patient_scores):
        drawings["patient_scores"] = lambda: figures.draw_patient_scores(
            inputs.patient_scores, labels=inputs.labels
        )
    if len(inputs.slice_scores):
        drawings["slice_profile"] = lambda: figures.draw_slice_profile(
            _slice_profile(inputs), labels=inputs.labels
        )
    if evaluation.get("baselines"):
        drawings["auc_comparison"] = lambda: figures.draw_auc_comparison(evaluation)
    if audit is not None and tables.leakage_table(inputs) is not None:
        drawings["leakage"] = lambda: figures.draw_leakage(audit)
    return {name: _markup(draw()) for name, draw in drawings.items()}


def _markup(text: str) -> str:
    from markupsafe import Markup

    return Markup(text)  # our own SVG: its texts were escaped when it was drawn


def _slice_profile(inputs: ReportInputs) -> pd.DataFrame:
    """Return the mean score by slice number (rows) and label (columns)."""
    label_of = inputs.patient_scores.drop_duplicates("patient_id").set_index("patient_id")["label"]
    scores = inputs.slice_scores[["patient_id", "slice", "score"]]
    scores = scores.assign(label=scores["patient_id"].map(label_of))
    return scores.pivot_table(index="slice", columns="label", values="score", aggfunc="mean")


@dataclasses.dataclass(frozen=True)
class _Cell:
    count: str
    percent: str
    share: float
    right: bool


def _confusion(inputs: ReportInputs) -> dict[str, Any] | None:
    """Return the cross-tabulation: rows are the reference standard, columns the model's call."""
    found = inputs.evaluation.get("confusion")
    if not found:
        return None
    rows = []
    for i, line in enumerate(found["matrix"]):
        total = sum(line)
        cells = [
            _Cell(
                count=count(value),
                percent=f"{100 * value / total:.0f}\u00a0%" if total else "\u2013",
                share=round(value / total, 3) if total else 0.0,
                right=i == j,
            )
            for j, value in enumerate(line)
        ]
        rows.append({"label": found["labels"][i], "cells": cells, "total": count(total)})
    return {"labels": found["labels"], "rows": rows}


def _montage(montage: Montage) -> dict[str, Any]:
    png = figures.montage_png(montage.pixels, columns=_MONTAGE_COLUMNS)
    tiles = [
        {"z": number(float(z), 0), "score": "" if s != s else number(float(s), 2)}
        for z, s in zip(montage.z_mm, montage.slice_scores, strict=True)
    ]
    return {
        "patient_id": montage.patient_id,
        "label": montage.label,
        "columns": _MONTAGE_COLUMNS,
        "n_rows": -(-len(tiles) // _MONTAGE_COLUMNS),
        "ratio": f"{_MONTAGE_COLUMNS * montage.pixels.shape[2]}"
        f" / {-(-len(tiles) // _MONTAGE_COLUMNS) * montage.pixels.shape[1]}",
        "source": png_source(png),
        "tiles": tiles,
        "lowest": number(float(montage.z_mm.min()), 0),
        "highest": number(float(montage.z_mm.max()), 0),
    }
