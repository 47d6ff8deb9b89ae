"""The tables of a report: rows of text, made from the evaluation, the audit and the manifest."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from mri_transfer.evaluation.results import SliceFigures
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report.blocks.cells import (
    Column,
    Row,
    Table,
    confidence_text,
    records,
    table_of,
    value_and_interval,
)
from mri_transfer.report.blocks.wording import METRICS, count, label_of, number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.calibration_tables import CALIBRATION
from mri_transfer.report.tables.patient_results import threshold_spans

__all__ = [
    "exclusion_counts",
    "exclusion_list",
    "fold_table",
    "metric_table",
    "patient_list",
    "repeat_table",
    "profile_table",
    "roc_table",
    "slice_profile",
    "slice_table",
]


def metric_table(inputs: ReportInputs) -> Table:
    """Return the patient-level metrics but those of calibration, with interval, n and method."""
    found = inputs.evaluation.patient
    names = [name for name in METRICS if name not in CALIBRATION]
    return _metrics(
        "Patient level",
        [(label_of(name), getattr(found, name), METRICS[name].meaning) for name in names],
        inputs,
    )


def slice_table(inputs: ReportInputs) -> Table:
    """Return the slice-level metrics, labelled as what they are."""
    found = inputs.evaluation.slice
    return _metrics(
        "Slice level: not the answer",
        [
            (f"{label_of(name)}, by slice", getattr(found, name), "")
            for name in sorted(SliceFigures.model_fields)
        ],
        inputs,
    )


def _metrics(caption: str, found: list[tuple[str, Estimate, str]], inputs: ReportInputs) -> Table:
    rows = [
        Row(title, (*value_and_interval(one), count(one.n), one.method), note=meaning)
        for title, one, meaning in found
    ]
    return Table(
        caption=caption,
        columns=("Metric", "Value", confidence_text(inputs), "n", "Interval by"),
        rows=tuple(rows),
        wide=("Interval by",),
    )


def roc_table(inputs: ReportInputs) -> Table | None:
    """Return the points of the ROC curve."""
    curve = inputs.evaluation.roc
    return table_of(
        zip(curve.fpr, curve.tpr, strict=True),
        "Points of the ROC curve",
        Column("1 \u2212 specificity", lambda point: number(point[0])),
        Column("Sensitivity", lambda point: number(point[1])),
    )


def slice_profile(inputs: ReportInputs) -> pd.DataFrame:
    """Return the mean score by slice number (rows) and label (columns)."""
    label_of = inputs.patient_scores.drop_duplicates("patient_id").set_index("patient_id")["label"]
    scores = inputs.slice_scores[["patient_id", "slice", "score"]]
    scores = scores.assign(label=scores["patient_id"].map(label_of))
    return scores.pivot_table(index="slice", columns="label", values="score", aggfunc="mean")


def profile_table(inputs: ReportInputs) -> Table:
    """Return the mean slice score by slice and label, as the figure draws it."""
    profile = slice_profile(inputs)
    labels = [name for name in inputs.task.labels if name in profile]
    rows = [
        Row(count(float(i)), tuple(number(float(profile.loc[i, name])) for name in labels))
        for i in profile.index
    ]
    return Table(
        caption="Mean slice score by slice, from the lowest to the highest",
        columns=("Slice", *labels),
        rows=tuple(rows),
    )


def repeat_table(inputs: ReportInputs) -> Table:
    """Return the metrics of each repeat."""
    return records("Each repeat", inputs.evaluation.per_repeat)


def fold_table(inputs: ReportInputs) -> Table:
    """Return the metrics of each fold of each repeat."""
    return records("Each fold", inputs.evaluation.per_fold)


def patient_list(inputs: ReportInputs) -> Table:
    """Return every patient's score, those called wrongly most often first."""
    rows, spans = [], threshold_spans(inputs)
    for patient_id, group in inputs.patient_scores.groupby("patient_id", sort=True):
        label = str(group["label"].iloc[0])
        wrong = int((group["predicted"] != group["label"]).sum())
        scores = group["score"].astype(float)
        spread = f"{scores.min():.2f} to {scores.max():.2f}"
        threshold = spans.get(str(patient_id), "not known")
        cells = (label, number(scores.mean(), 2), spread, threshold, f"{wrong} of {len(group)}")
        rows.append((-wrong / len(group), label, str(patient_id), Row(str(patient_id), cells)))
    rows.sort(key=lambda row: row[:3])
    return Table(
        caption="Every patient's score",
        columns=(
            "Patient",
            "Label",
            "Mean score",
            "Range over repeats",
            f"Called {inputs.task.positive} from",
            "Called wrongly",
        ),
        rows=tuple(row[3] for row in rows),
        wide=("Label",),
    )


def exclusion_counts(excluded: pd.DataFrame) -> Table:
    """Return how many scans were left out at which stage and why."""
    text = excluded.fillna("").astype(str)
    kinds = [
        _kind(reason, scan) for reason, scan in zip(text["reason"], text["scan_id"], strict=True)
    ]
    grouped = text.assign(reason=kinds).groupby(["stage", "reason"], sort=True).size()
    rows = [Row(str(key[0]), (str(key[1]), str(n))) for key, n in _pairs(grouped)]
    return Table(
        caption="Scans left out, by stage and reason",
        columns=("Stage", "Reason", "Scans"),
        rows=tuple(rows),
        wide=("Reason",),
    )


def exclusion_list(excluded: pd.DataFrame) -> Table:
    """Return every scan that was left out."""
    text = excluded.fillna("").astype(str)
    rows = [
        Row(scan_id, (patient_id, stage, reason))
        for scan_id, patient_id, stage, reason in zip(
            text["scan_id"], text["patient_id"], text["stage"], text["reason"], strict=True
        )
    ]
    return Table(
        caption="Every scan left out",
        columns=("Scan", "Patient", "Stage", "Reason"),
        rows=tuple(rows),
        wide=("Patient", "Stage", "Reason"),
    )


def _kind(reason: str, scan_id: str) -> str:
    """Return a reason without what differs from scan to scan, so that equal ones are counted."""
    return re.split(r" \(found |\. ", reason.removeprefix(f"{scan_id}: "), maxsplit=1)[0].rstrip(
        "."
    )


def _pairs(grouped: pd.Series[int]) -> list[tuple[Any, int]]:
    return [(key, int(n)) for key, n in grouped.items()]
