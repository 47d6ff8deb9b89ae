"""The tables of the explanation: checks, agreement, regions, truth, nearest patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from mri_transfer.explain.document import (
    CurveFigure,
    ExplanationDocument,
    PixelAttributionRow,
    SanityCheck,
    TruthFigure,
)
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report.blocks.cells import (
    Column,
    Table,
    confidence_text,
    percent,
    stacked,
    table_of,
)
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "agreement_table",
    "check_table",
    "close_table",
    "faithfulness_table",
    "group_table",
    "height_table",
    "labels_positive_first",
    "neighbour_table",
    "region_table",
    "structure_table",
    "truth_table",
]

#: Structures that are shown: those with the most weight, and those known of the disease.
_STRUCTURES = 8
_KNOWN = ("hippocampus", "amygdala", "entorhinal", "lateral-ventricle")
_FIGURES = {
    "auc": "AUC of strength for planted cells",
    "pointing": "Strongest cell is planted (share of patients)",
    "mass": "Share of all strength in planted cells",
}
_METHODS = {
    "maps": "maps of this report",
    "Grad-CAM": "Grad-CAM",
    "randomised head": "control: permuted weights of the head",
    "contrast": "contrast maps",
    "contrast, randomised head": "control: contrast maps, permuted weights",
}


def check_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return the sanity checks, each with its verdict in words."""
    return table_of(
        document.checks,
        f"Whether the maps can be believed, with {confidence_text(inputs)}",
        Column("What must hold", lambda check: check.what),
        Column("Found", lambda check: _value(check.value)),
        Column("Expected", lambda check: check.expected, wide=True),
        Column("Verdict", _verdict, wide=True),
        state=lambda check: "failed" if check.passed is False else "",
        name="explanation-checks",
    )


def _value(value: Estimate | bool | float | None) -> str:
    if isinstance(value, Estimate):
        return stacked(value, 2)
    if isinstance(value, bool):
        return "the same" if value else "not the same"
    return "not defined" if value is None else percent(value, 3)


def _verdict(check: SanityCheck) -> str:
    if check.passed is None:
        return f"not judged: {check.reason}"
    return "holds" if check.passed else "does not hold"


def agreement_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return the correlations of the methods over patches of the head."""
    return table_of(
        document.agreement or (),
        "Rank correlation over patches of the head, mean of "
        f"{len(document.pixel_attribution or ())} patients, with {confidence_text(inputs)}",
        Column("Methods", lambda pair: f"{pair.first} and {pair.second}"),
        Column("Correlation", lambda pair: stacked(pair.correlation, 2)),
        name="explanation-agreement",
    )


def region_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return what comes from each region, by label."""
    return table_of(
        document.regions or (),
        "Mean part of the log-odds that comes from each region, against the average training "
        f"patient, with {confidence_text(inputs)}",
        Column("Region", lambda row: row.region),
        Column("Share of the head", lambda row: "" if row.share is None else percent(row.share)),
        *_by_label(document, lambda entry: stacked(entry, 2)),
        name="explanation-regions",
    )


def structure_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return the structures with the most positive weight; None where none is named."""
    found = document.structures
    if found is None or not found.rows:
        return None
    shown = [
        row
        for n, row in enumerate(found.rows)
        if n < _STRUCTURES or any(name in row.structure.lower() for name in _KNOWN)
    ]
    return table_of(
        shown,
        f"Share of a map's positive weight (what speaks for {document.positive_label}), in %, by "
        f"structure, mean over patients, with {confidence_text(inputs)}: the {_STRUCTURES} with "
        f"the most of {len(found.rows)}, medial temporal lobes and lateral ventricles",
        Column("Structure", lambda row: row.structure),
        Column("Share of the head", lambda row: percent(row.share, 1)),
        *_by_label(document, lambda share: stacked(_in_percent(share), 1)),
        name="explanation-structures",
    )


def faithfulness_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return the areas under the deletion and insertion curves of each kind of map."""
    return table_of(
        document.faithfulness or (),
        "Area under the log-odds while cells are covered (deletion) and uncovered (insertion) in "
        f"the order of a map, mean of {len(document.pixel_attribution or ())} patients, with "
        f"{confidence_text(inputs)}",
        Column("Map", lambda row: row.method),
        Column("Deletion", lambda row: stacked(row.deletion.value, 2)),
        Column("less random order (below 0: faithful)", lambda row: _less(row.deletion)),
        Column("Insertion", lambda row: stacked(row.insertion.value, 2)),
        Column("less random order (above 0: faithful)", lambda row: _less(row.insertion)),
        name="explanation-faithfulness",
    )


def _less(figure: CurveFigure) -> str:
    return stacked(figure.difference, 2)


def truth_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return how well maps find what was planted; None where the truth is not known."""
    truth = document.truth
    if not truth:
        return None
    rows: list[tuple[str, str, list[str]]] = []
    # Grad-CAM is there where it was asked for (explanation.grad_cam).
    shown = {method: title for method, title in _METHODS.items() if method in truth.methods}
    for method, title in shown.items():
        result = truth.methods[method]
        for name, words in _FIGURES.items():
            entry: TruthFigure = getattr(result, name)
            parts = (entry.value, entry.chance, entry.difference)
            rows.append((words, title, [stacked(part, 2) for part in parts]))
        group = [stacked(result.group_auc, 2), "0.50 by definition", ""]
        rows.append(("AUC of the groups' difference", title, group))
    return table_of(
        rows,
        f"Maps of patients labelled {truth.label} against what was planted, with "
        f"{confidence_text(inputs)}",
        Column("Figure", lambda row: row[0]),
        Column("Method", lambda row: row[1], wide=True),
        Column("Found", lambda row: row[2][0]),
        Column("Map flipped", lambda row: row[2][1]),
        Column("Difference", lambda row: row[2][2]),
        name="explanation-truth",
    )


def neighbour_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return how many of the nearest training patients carry the patient's own label."""
    return table_of(
        document.neighbours.agreement,
        f"Of the {document.neighbours.n} nearest training patients, the share with the patient's "
        f"own label, with {confidence_text(inputs)}",
        Column("Label", lambda row: row.label),
        Column("Patients", lambda row: str(row.n_patients)),
        Column("Same label", lambda row: stacked(row.share, 2)),
        Column("By chance", lambda row: percent(row.by_chance)),
        name="explanation-neighbours",
    )


def height_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return each slice's part in the log-odds, by label."""
    return table_of(
        document.heights or (),
        f"Mean part of each slice in the log-odds, with {confidence_text(inputs)}",
        Column("Slice, from the lowest", lambda height: str(height.slice)),
        *_by_label(document, lambda entry: stacked(entry, 3)),
        name="explanation-heights",
    )


def group_table(document: ExplanationDocument) -> Table | None:
    """Return the groups whose maps are shown."""
    return table_of(
        document.groups,
        f"Mean maps of groups, in {document.unit}",
        Column("Group", lambda group: group.label),
        Column("Patients", lambda group: str(group.n_patients)),
        Column("Lowest", lambda group: number(group.lowest, 2)),
        Column("Highest", lambda group: number(group.highest, 2)),
        name="explanation-groups",
    )


def close_table(document: ExplanationDocument) -> Table | None:
    """Return who was examined in detail, and what integrated gradients leave unexplained."""
    return table_of(
        document.pixel_attribution or (),
        "Patients examined in detail",
        Column("Patient", lambda patient: patient.patient_id),
        Column("Label", lambda patient: patient.label),
        Column("Score", lambda patient: number(patient.score, 2)),
        Column("Called", lambda patient: f"called {patient.outcome}ly", wide=True),
        *(
            [Column("Structures with most positive weight", _structures, wide=True)]
            if any(patient.structures for patient in document.pixel_attribution or ())
            else []
        ),
        Column(
            "Not explained by integrated gradients",
            lambda patient: (
                "not defined" if patient.missing_share is None else percent(patient.missing_share)
            ),
        ),
        Column(
            "Largest change by one patch (log-odds)",
            lambda patient: number(patient.strongest_patch, 3),
        ),
        name="explanation-close",
    )


def _structures(patient: PixelAttributionRow) -> str:
    return "; ".join(f"{one.structure} {percent(one.share)}" for one in patient.structures)


def labels_positive_first(document: ExplanationDocument) -> list[str]:
    """Return the labels of the cohort, the positive one first."""
    return sorted(document.labels, key=lambda label: (label != document.positive_label, label))


def _in_percent(share: Estimate) -> Estimate:
    def scaled(part: float | None) -> float | None:
        return None if part is None else 100 * part

    return dataclasses.replace(
        share,
        value=scaled(share.value),
        ci_low=scaled(share.ci_low),
        ci_high=scaled(share.ci_high),
    )


def _by_label(document: ExplanationDocument, shown: Callable[[Estimate], str]) -> list[Column[Any]]:
    """Return a column for each label, of rows that hold an estimate for each."""

    def column(label: str) -> Column[Any]:
        return Column(label, lambda row: shown(row.by_label[label]))

    return [column(label) for label in labels_positive_first(document)]
