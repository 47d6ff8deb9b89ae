"""The tables of a report: rows of text, made from the evaluation, the audit and the manifest."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from mri_transfer.report.model import ReportInputs
from mri_transfer.report.wording import METRICS, count, interval, label_of, number, p_value

__all__ = [
    "Row",
    "Table",
    "baseline_table",
    "exclusion_counts",
    "exclusion_list",
    "flow",
    "fold_table",
    "leakage_table",
    "metric_table",
    "patient_list",
    "repeat_table",
    "slice_table",
]

# JSON sorts keys; a reader wants them in this order.
_KEYS = ("repeat", "fold", "n_patients", "n_positive", "threshold")
_ARMS = (
    "patient_split_true_labels",
    "slice_split_true_labels",
    "patient_split_permuted_labels",
    "slice_split_permuted_labels",
)
_ARM_METRICS = ("slice_accuracy", "slice_auc", "patient_auc", "patient_balanced_accuracy")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: its head, a remark in small type below the head, and the cells.

    What follows a line break in a cell stands below it in small type.
    """

    head: str
    cells: tuple[str, ...]
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text; `wide` names the columns whose cells are words and not numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    wide: tuple[str, ...] = ()


def metric_table(inputs: ReportInputs) -> Table:
    """Return every patient-level metric with interval, n and method."""
    found = inputs.evaluation["patient"]
    names = _ordered(found, tuple(METRICS))
    rows = [
        Row(
            label_of(name),
            (*_value_and_interval(found[name]), count(found[name].get("n")), _method(found[name])),
            note=METRICS[name].meaning if name in METRICS else "",
        )
        for name in names
    ]
    return Table(
        caption="Patient level",
        columns=("Metric", "Value", _interval_head(inputs), "n", "Interval by"),
        rows=tuple(rows),
        wide=("Interval by",),
    )


def slice_table(inputs: ReportInputs) -> Table:
    """Return the slice-level metrics, labelled as what they are."""
    found = inputs.evaluation.get("slice", {})
    rows = [
        Row(
            f"{label_of(name)}, by slice",
            (*_value_and_interval(entry), count(entry.get("n")), _method(entry)),
        )
        for name, entry in sorted(found.items())
    ]
    return Table(
        caption="Slice level: not the answer",
        columns=("Metric", "Value", _interval_head(inputs), "n", "Interval by"),
        rows=tuple(rows),
        wide=("Interval by",),
    )


def repeat_table(inputs: ReportInputs) -> Table:
    """Return the metrics of each repeat."""
    return _records("Each repeat", inputs.evaluation.get("per_repeat", []))


def fold_table(inputs: ReportInputs) -> Table:
    """Return the metrics of each fold of each repeat."""
    return _records("Each fold", inputs.evaluation.get("per_fold", []))


def baseline_table(inputs: ReportInputs) -> Table:
    """Return the model and each baseline, with the paired difference of their AUC."""
    patient = inputs.evaluation["patient"]
    own = (_stacked(patient.get(name, {})) for name in ("auc", "balanced_accuracy"))
    rows = [Row("This model", (*own, "", ""))]
    for name, entry in inputs.evaluation.get("baselines", {}).items():
        difference = entry.get("auc_difference", {})
        cells = (
            _stacked(entry.get("auc", {})),
            _stacked(entry.get("balanced_accuracy", {})),
            _stacked(difference),
            p_value(difference.get("p")).removeprefix("=\u00a0"),
        )
        covariates = ", ".join(entry.get("covariates", ()))
        rows.append(Row(name, cells, note=f"from {covariates}" if covariates else ""))
    return Table(
        caption=f"Model and baselines, same patients and folds, with {_interval_head(inputs)}",
        columns=("Scored by", "AUC", "Balanced accuracy", "AUC, model minus baseline", "p"),
        rows=tuple(rows),
    )


def leakage_table(inputs: ReportInputs) -> Table | None:
    """Return the four arms of the leakage stress test; None where it was not run."""
    arms = _arms(inputs.audit)
    if not arms:
        return None
    names = _ordered({metric: None for arm in arms.values() for metric in arm}, _ARM_METRICS)
    words = {"split": "split,", "permuted": "shuffled"}
    rows = []
    for key, arm in arms.items():
        head = " ".join(words.get(word, word) for word in key.split("_"))
        cells = [_stacked(arm.get(name, {})) for name in names]
        rows.append(Row(head.capitalize(), tuple(cells)))
    return Table(
        caption=f"The four arms, with {_interval_head(inputs)}",
        columns=("Arm", *map(label_of, names)),
        rows=tuple(rows),
    )


def patient_list(inputs: ReportInputs) -> Table:
    """Return every patient's score, those called wrongly most often first."""
    rows = []
    for patient_id, group in inputs.patient_scores.groupby("patient_id", sort=True):
        label = str(group["label"].iloc[0])
        wrong = int((group["predicted"] != group["label"]).sum())
        scores = group["score"].astype(float)
        spread = f"{scores.min():.2f} to {scores.max():.2f}"
        cells = (label, number(scores.mean(), 2), spread, f"{wrong} of {len(group)}")
        rows.append((-wrong / len(group), label, str(patient_id), Row(str(patient_id), cells)))
    rows.sort(key=lambda row: row[:3])
    return Table(
        caption="Every patient's score",
        columns=("Patient", "Label", "Mean score", "Range over repeats", "Called wrongly"),
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


def flow(inputs: ReportInputs) -> dict[str, Any]:
    """Return the numbers of the flow of scans and patients."""
    evaluation = inputs.evaluation
    used = set(map(str, inputs.evaluated.index))
    lost = set(inputs.excluded["patient_id"].dropna().astype(str)) - used - {""}
    n_scans = evaluation["n_scans"]
    negative, positive = inputs.labels
    return {
        "offered": None if n_scans is None else n_scans + len(inputs.excluded),
        "excluded": len(inputs.excluded),
        "lost_patients": len(lost),
        "scans": n_scans,
        "patients": evaluation["n_patients"],
        "slices": evaluation["n_slices"],
        "groups": (
            (negative, evaluation["n_patients"] - evaluation["n_positive"]),
            (positive, evaluation["n_positive"]),
        ),
    }


def _kind(reason: str, scan_id: str) -> str:
    """Return a reason without what differs from scan to scan, so that equal ones are counted."""
    return re.split(r" \(found |\. ", reason.removeprefix(f"{scan_id}: "), maxsplit=1)[0].rstrip(
        "."
    )


def _pairs(grouped: pd.Series[int]) -> list[tuple[Any, int]]:
    return [(key, int(n)) for key, n in grouped.items()]


def _arms(audit: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    leakage = (audit or {}).get("leakage") or {}
    arms = leakage.get("arms") or {}
    return {name: arms[name] for name in _ordered(arms, _ARMS)}


def _ordered(found: Iterable[str], first: Sequence[str]) -> list[str]:
    """Return the names found: those of `first` in its order, then the others."""
    names = list(dict.fromkeys(found))
    return [name for name in first if name in names] + [name for name in names if name not in first]


def _value_and_interval(entry: Mapping[str, Any]) -> tuple[str, str]:
    if entry.get("value") is None:
        return f"not defined:\n{entry.get('reason') or 'no reason was given'}", ""
    return number(entry["value"]), interval(entry).replace("not defined: ", "not defined:\n")


def _stacked(entry: Mapping[str, Any]) -> str:
    value, span = _value_and_interval(entry)
    return f"{value}\n{span}" if span and not span.startswith("not defined") else value


def _method(entry: Mapping[str, Any]) -> str:
    return str(entry.get("method") or "")


def _interval_head(inputs: ReportInputs) -> str:
    return f"{100 * inputs.evaluation['confidence']:g}\u00a0% CI"


def _records(caption: str, records: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out a list of records; columns are the union of their keys.

    An entry `reasons` says, by name, why others are undefined, and goes where they stand.
    """
    names = _ordered((name for record in records for name in record), (*_KEYS, *METRICS))
    names = [name for name in names if name != "reasons"]
    rows = []
    for record in records:
        reasons = record.get("reasons") or {}
        cells = [_cell(record.get(name), reasons.get(name)) for name in names]
        rows.append(Row(cells[0], tuple(cells[1:])))
    return Table(caption=caption, columns=tuple(map(label_of, names)), rows=tuple(rows))


def _cell(value: Any, reason: str | None) -> str:
    if isinstance(value, Mapping):
        return _stacked(value)
    if isinstance(value, float):
        return number(value)
    if value is None:
        return f"not defined:\n{reason}" if reason else "not defined"
    return str(value)
