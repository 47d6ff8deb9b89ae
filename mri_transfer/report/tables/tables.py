"""The tables of a report: rows of text, made from the evaluation, the audit and the manifest."""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd

from mri_transfer.evaluation.results import SliceFigures
from mri_transfer.report.blocks.cells import (
    Column,
    Measure,
    Table,
    confidence_text,
    measure_table,
    records,
    table_of,
    value_and_interval,
)
from mri_transfer.report.blocks.wording import METRICS, count, label_of, number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.calibration_tables import CALIBRATION
from mri_transfer.report.tables.patient_results import (
    patient_results,
    shown_results,
    threshold_spans,
)

__all__ = [
    "exclusion_counts",
    "exclusion_list",
    "fold_table",
    "main_metrics",
    "metric_table",
    "patient_list",
    "repeat_table",
    "profile_table",
    "roc_table",
    "slice_profile",
    "slice_table",
]


#: What stands open; every metric and the method of its interval stand in the fold below.
_MAIN_METRICS = (
    "auc",
    "average_precision",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
)


def metric_table(inputs: ReportInputs) -> Table | None:
    """Return the patient-level metrics but those of calibration, with interval, n and method."""
    figures = inputs.evaluation.patient
    names = [name for name in METRICS if name not in CALIBRATION]
    return _metrics(
        "Patient level",
        [(label_of(name), getattr(figures, name), METRICS[name].meaning) for name in names],
        inputs,
    )


def main_metrics(inputs: ReportInputs) -> Table | None:
    """Return the patient-level metrics that readers ask for, with interval and meaning."""
    figures = inputs.evaluation.patient
    return table_of(
        _MAIN_METRICS,
        "By patient",
        Column("Metric", label_of),
        Column("Value", lambda name: value_and_interval(getattr(figures, name))[0]),
        Column(confidence_text(inputs), lambda name: value_and_interval(getattr(figures, name))[1]),
        note=lambda name: METRICS[name].meaning,
    )


def slice_table(inputs: ReportInputs) -> Table | None:
    """Return the slice-level metrics, labelled as what they are."""
    figures = inputs.evaluation.slice
    names = sorted(SliceFigures.model_fields)
    rows = [(f"{label_of(name)}, by slice", getattr(figures, name), "") for name in names]
    return _metrics("Slice level: not the answer", rows, inputs)


def _metrics(caption: str, rows: list[Measure], inputs: ReportInputs) -> Table | None:
    n = Column[Measure]("n", lambda row: count(row[1].n))
    return measure_table(caption, rows, inputs, head="Metric", between=[n])


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


def profile_table(inputs: ReportInputs) -> Table | None:
    """Return the mean slice score by slice and label, as the figure draws it."""
    profile = slice_profile(inputs)

    def mean_of(label: str) -> Column[float]:
        means = profile[label].to_dict()
        return Column(label, lambda i: number(means[i]))

    return table_of(
        profile.index,
        "Mean slice score by slice, from the lowest to the highest",
        Column("Slice", lambda i: count(float(i))),
        *(mean_of(label) for label in inputs.task.labels if label in profile),
    )


def repeat_table(inputs: ReportInputs) -> Table:
    """Return the metrics of each repeat."""
    return records("Each repeat", inputs.evaluation.per_repeat)


def fold_table(inputs: ReportInputs) -> Table:
    """Return the metrics of each fold of each repeat."""
    return records("Each fold", inputs.evaluation.per_fold)


def patient_list(inputs: ReportInputs) -> Table | None:
    """Return every patient's score, those called incorrectly most often first."""
    results = patient_results(inputs)
    shown = shown_results(results)
    spans = threshold_spans(inputs, shown)
    return table_of(
        sorted(shown, key=lambda p: (p.share_right, p.label, p.patient_id)),
        "Every patient's score"
        if shown is results
        else f"The scores of {len(shown)} of {len(results)} patients, those called worst",
        Column("Patient", lambda patient: patient.patient_id),
        Column("Label", lambda patient: patient.label, wide=True),
        Column("Mean score", lambda patient: number(patient.score, 2)),
        Column(
            "Range over repeats",
            lambda patient: f"{number(patient.low, 2)} to {number(patient.high, 2)}",
        ),
        Column(
            f"Called {inputs.task.positive} from",
            lambda patient: spans.get(patient.patient_id, "not known"),
        ),
        Column("Called incorrectly", lambda patient: f"{patient.n_wrong} of {len(patient.scores)}"),
    )


def exclusion_counts(excluded: pd.DataFrame) -> Table | None:
    """Return how many scans were left out at which stage and why."""
    text = excluded.fillna("").astype(str)
    kinds = [
        _kind(reason, scan) for reason, scan in zip(text["reason"], text["scan_id"], strict=True)
    ]
    counts = Counter(zip(text["stage"], kinds, strict=True))
    return table_of(
        sorted(counts),
        "Scans left out, by stage and reason",
        Column("Stage", lambda key: key[0]),
        Column("Reason", lambda key: key[1], wide=True),
        Column("Scans", lambda key: str(counts[key])),
    )


def exclusion_list(excluded: pd.DataFrame) -> Table | None:
    """Return every scan that was left out."""
    return table_of(
        excluded.fillna("").astype(str).itertuples(index=False),
        "Every scan left out",
        Column("Scan", lambda row: str(row.scan_id)),
        Column("Patient", lambda row: str(row.patient_id), wide=True),
        Column("Stage", lambda row: str(row.stage), wide=True),
        Column("Reason", lambda row: str(row.reason), wide=True),
    )


def _kind(reason: str, scan_id: str) -> str:
    """Return a reason without what differs from scan to scan, so that equal ones are counted."""
    return re.split(r" \(found |\. ", reason.removeprefix(f"{scan_id}: "), maxsplit=1)[0].rstrip(
        "."
    )
