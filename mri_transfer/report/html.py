"""The report as one HTML page that carries everything it shows and asks nothing of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mri_transfer import figures
from mri_transfer.files import atomic_write_text
from mri_transfer.report import (
    audit_tables,
    calibration_tables,
    choice_tables,
    class_tables,
    cohort,
    comparison_tables,
    group_tables,
    leakage_tables,
    learning_tables,
    precision_tables,
    summary,
    tables,
    utility_tables,
)
from mri_transfer.report.cells import Table
from mri_transfer.report.model import Montage, ReportInputs
from mri_transfer.report.pages import png_source, render_page
from mri_transfer.report.wording import count, number

__all__ = ["render_report", "write_report"]

_MONTAGE_COLUMNS = 8

_TABLES: dict[str, Callable[[ReportInputs], Table | None]] = {
    "cohort": cohort.cohort_table,
    "exclusion_counts": lambda inputs: tables.exclusion_counts(inputs.excluded),
    "exclusions": lambda inputs: tables.exclusion_list(inputs.excluded),
    "metrics": tables.metric_table,
    "roc": tables.roc_table,
    "slices": tables.slice_table,
    "repeats": tables.repeat_table,
    "folds": tables.fold_table,
    "patients": tables.patient_list,
    "classes": class_tables.class_table,
    "classes_macro": class_tables.macro_table,
    "classes_confusion": class_tables.class_confusion,
    "calibration": calibration_tables.calibration_table,
    "brier": calibration_tables.brier_table,
    "calibration_groups": calibration_tables.group_points,
    "calibration_smooth": calibration_tables.smooth_points,
    "decision": lambda inputs: utility_tables.decision_table(inputs, whole=False),
    "decision_whole": lambda inputs: utility_tables.decision_table(inputs, whole=True),
    "operating_points": utility_tables.operating_table,
    "predictive_values": utility_tables.predictive_table,
    "baselines": comparison_tables.baseline_table,
    "mcnemar": comparison_tables.mcnemar_table,
    "image_value": comparison_tables.image_value_table,
    "subgroups": group_tables.subgroup_table,
    "gaps": group_tables.gap_table,
    "age_matched": group_tables.age_table,
    "failures": group_tables.failure_table,
    "precision": precision_tables.precision_table,
    "sample_size": precision_tables.sample_size_table,
    "choices": choice_tables.choice_table,
    "checks": audit_tables.check_table,
    "leakage": leakage_tables.leakage_table,
    "inflation": leakage_tables.inflation_table,
    "permutations": leakage_tables.permutation_table,
    "identity": leakage_tables.identity_table,
    "likeness": leakage_tables.likeness_table,
    "similar_pairs": leakage_tables.similar_pairs,
    "shortcuts": audit_tables.shortcut_table,
    "retest": audit_tables.retest_table,
    "learning": learning_tables.size_table,
    "learning_whole": learning_tables.curve_table,
    "transfer": learning_tables.transfer_table,
}
_SENTENCES: dict[str, Callable[[ReportInputs], list[str]]] = {
    "calibration": calibration_tables.calibration_sentences,
    "utility": utility_tables.utility_sentences,
    "image_value": comparison_tables.image_value_sentences,
    "choices": choice_tables.choice_sentences,
    "leakage": summary.leakage_sentences,
    "learning": learning_tables.learning_sentences,
}


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
        failed=summary.failed_checks(inputs),
        tables={name: make(inputs) for name, make in _TABLES.items()},
        sentences={name: make(inputs) for name, make in _SENTENCES.items()},
        several_scans=leakage_tables.several_scans_tables(inputs),
        robustness=audit_tables.robustness_tables(inputs),
        shortcuts=audit_tables.shortcut_sentences(inputs),
        flow=tables.flow(inputs),
        confusion=_confusion(inputs),
        figures=_figures(inputs),
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
        ordered = comparison_tables.sorted_baselines(evaluation)
        drawings["auc_comparison"] = lambda: figures.draw_auc_comparison(
            {**evaluation, "baselines": ordered}
        )
    curve = evaluation.get("decision_curve") or {}
    if curve.get("thresholds"):
        drawings["decision_curve"] = lambda: figures.draw_decision_curve(
            curve, baseline=utility_tables.curve_baseline(inputs)
        )
    if audit is not None and leakage_tables.leakage_table(inputs) is not None:
        drawings["leakage"] = lambda: figures.draw_leakage(audit)
    learning = (audit or {}).get("learning_curve")
    if learning:
        drawings["learning_curve"] = lambda: figures.draw_learning_curve(learning)
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
