"""The tables of the explanation: checks, agreement, regions, truth, nearest patients."""

from __future__ import annotations

from mri_transfer.explain.document import ExplanationDocument, SanityCheck, TruthFigure
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report.blocks.cells import Row, Table, confidence_text, percent, stacked
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "agreement_table",
    "check_table",
    "close_table",
    "group_table",
    "height_table",
    "neighbour_table",
    "region_table",
    "truth_table",
]

_FIGURES = {
    "auc": "AUC of strength for planted cells",
    "pointing": "Strongest cell is planted (share of patients)",
    "mass": "Share of all strength in planted cells",
}
_METHODS = {
    "maps": "maps of this report",
    "Grad-CAM": "Grad-CAM",
    "randomised head": "control: weights permuted",
}


def check_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return the sanity checks, each with its verdict in words."""
    rows = [
        Row(
            str(check.what),
            (_value(check.value), str(check.expected), _verdict(check)),
            state="failed" if check.passed is False else "",
        )
        for check in document.checks
    ]
    if not rows:
        return None
    return Table(
        caption=f"Whether the maps can be believed, with {confidence_text(inputs)}",
        columns=("What must hold", "Found", "Expected", "Verdict"),
        rows=tuple(rows),
        wide=("Expected", "Verdict"),
        name="explanation-checks",
    )


def _value(value: Estimate | bool | float | None) -> str:
    if isinstance(value, Estimate):
        return stacked(value, 2)
    if isinstance(value, bool):
        return "the same" if value else "not the same"
    if value is None:
        return "not defined"
    return percent(value, 3)


def _verdict(check: SanityCheck) -> str:
    if check.passed is None:
        return f"not judged: {check.reason}"
    return "holds" if check.passed else "does not hold"


def agreement_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return the correlations of the methods over patches of the head."""
    rows = [
        Row(f"{one.first} and {one.second}", (stacked(one.correlation, 2),))
        for one in document.agreement or ()
    ]
    if not rows:
        return None
    n = len(document.pixel_attribution or ())
    return Table(
        caption=f"Rank correlation over patches of the head, mean of {n} patients, with "
        f"{confidence_text(inputs)}",
        columns=("Methods", "Correlation"),
        rows=tuple(rows),
        name="explanation-agreement",
    )


def region_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return what comes from each region, by label."""
    labels = _labels(document)
    rows = [
        Row(
            str(one.region),
            (
                "" if one.share is None else percent(one.share),
                *(stacked(one.by_label[label], 2) for label in labels),
            ),
        )
        for one in document.regions or ()
    ]
    if not rows:
        return None
    return Table(
        caption="Mean part of the log-odds that comes from each region, against the average "
        f"training patient, with {confidence_text(inputs)}",
        columns=("Region", "Share of the head", *labels),
        rows=tuple(rows),
        name="explanation-regions",
    )


def truth_table(inputs: ReportInputs, document: ExplanationDocument) -> Table | None:
    """Return how well maps find what was planted; None where the truth is not known."""
    truth = document.truth
    if not truth:
        return None
    rows = []
    for method, title in _METHODS.items():
        found = truth.methods[method]
        for name, words in _FIGURES.items():
            one: TruthFigure = getattr(found, name)
            cells = tuple(stacked(part, 2) for part in (one.value, one.chance, one.difference))
            rows.append(Row(words, (title, *cells)))
        group = stacked(found.group_auc, 2)
        rows.append(Row("AUC of the groups' difference", (title, group, "0.50 by definition", "")))
    return Table(
        caption=f"Maps of patients labelled {truth.label} against what was planted, with "
        f"{confidence_text(inputs)}",
        columns=("Figure", "Method", "Found", "Map turned about", "Difference"),
        rows=tuple(rows),
        wide=("Method",),
        name="explanation-truth",
    )


def neighbour_table(inputs: ReportInputs, document: ExplanationDocument) -> Table:
    """Return how many of the nearest training patients carry the patient's own label."""
    rows = [
        Row(
            str(one.label),
            (str(one.n_patients), stacked(one.share, 2), percent(one.by_chance)),
        )
        for one in document.neighbours.agreement
    ]
    return Table(
        caption=f"Of the {document.neighbours.n} nearest training patients, the share with "
        f"the patient's own label, with {confidence_text(inputs)}",
        columns=("Label", "Patients", "Same label", "By chance"),
        rows=tuple(rows),
        name="explanation-neighbours",
    )


def height_table(inputs: ReportInputs, document: ExplanationDocument) -> Table:
    """Return each slice's part in the log-odds, by label."""
    labels = _labels(document)
    rows = [
        Row(
            str(one.slice),
            tuple(stacked(one.by_label[label], 3) for label in labels),
        )
        for one in document.heights or ()
    ]
    return Table(
        caption=f"Mean part of each slice in the log-odds, with {confidence_text(inputs)}",
        columns=("Slice, from the lowest", *labels),
        rows=tuple(rows),
        name="explanation-heights",
    )


def group_table(document: ExplanationDocument) -> Table:
    """Return the groups whose maps are shown."""
    rows = [
        Row(
            str(one.label),
            (str(one.n_patients), number(one.lowest, 2), number(one.highest, 2)),
        )
        for one in document.groups
    ]
    return Table(
        caption=f"Mean maps of groups, in {document.unit}",
        columns=("Group", "Patients", "Lowest", "Highest"),
        rows=tuple(rows),
        name="explanation-groups",
    )


def close_table(document: ExplanationDocument) -> Table | None:
    """Return who was looked at closely, and what integrated gradients leave unexplained."""
    rows = [
        Row(
            str(one.patient_id),
            (
                str(one.label),
                number(one.score, 2),
                f"called {one.outcome}ly",
                "not defined" if one.missing_share is None else percent(one.missing_share),
                number(one.strongest_patch, 3),
            ),
        )
        for one in document.pixel_attribution or ()
    ]
    if not rows:
        return None
    return Table(
        caption="Patients looked at closely",
        columns=("Patient", "Label", "Score", "Called", "Not explained by integrated gradients",
                 "Largest change by one patch (log-odds)"),
        rows=tuple(rows),
        wide=("Called",),
        name="explanation-close",
    )  # fmt: skip


def _labels(document: ExplanationDocument) -> list[str]:
    positive = document.positive_label
    return sorted(document.labels, key=lambda label: (label != positive, label))
