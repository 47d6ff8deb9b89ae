"""Section `data`: where scans and labels come from, as far as the software knows."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mri_transfer.report.blocks.blocks import bullets, folded, missing, section_of
from mri_transfer.report.blocks.cells import Column, Row, Table, table_of
from mri_transfer.report.blocks.document import Heading, Section, Text
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.cohort import (
    as_text,
    is_number,
    label_names,
    median_and_quartiles,
    title_of,
)

__all__ = ["data_section", "tells_label"]

#: A column with more different values than this is a measurement, not a rating.
_MAX_RATINGS = 12
_SUPPLY = (
    "Recruitment: where, from when to when, consecutive or selected, and by whom.",
    "Eligibility: who could take part and who could not, and why.",
    "Reference standard: who decided the labels, by which criteria and in which version, from what "
    "information, blind to the scans or not, and how long before or after the scan.",
    "How far those who decide agree, and what was done where they did not.",
    "Scanners and sequences as acquired: maker, model, field strength, protocol, changes of them.",
    "Approval and consent under which the scans are used, and the terms of the data's licence.",
    "How the number of patients was decided.",
)


def data_section(inputs: ReportInputs) -> Section:
    """Return the section."""
    return section_of(
        "data",
        "Data and reference standard",
        Text(text=_synthetic(inputs), role="finding") if inputs.evaluation.synthetic else None,
        _source_table(inputs),
        Text(
            text="Every scan is known by the SHA-256 of its file, not by its name: whatever is "
            "computed from it is stored under that digest, and two files with the same content "
            "are found as duplicates.",
            role="note",
        ),
        Heading(text="Labels and reference standard"),
        bullets(_label_sentences(inputs)),
        _label_table(inputs),
        _rating_blocks(inputs),
        Heading(text="What the software cannot know"),
        Text(text="To be described beside this report:", role="supply"),
        bullets(_SUPPLY),
        short="Data",
    )


def _synthetic(inputs: ReportInputs) -> str:
    n = len(inputs.evaluated)
    return f"These {n} patients are synthetic: their scans and labels were made by software."


def _source_table(inputs: ReportInputs) -> Table:
    evaluated = inputs.evaluated
    rows = [
        Row("Patients evaluated", (str(len(evaluated)),)),
        Row("Scans evaluated", (_known(inputs.evaluation.n_scans),)),
        Row("Slices evaluated", (_known(inputs.evaluation.n_slices),)),
        Row("Scans per patient", (_scans_per_patient(inputs),)),
        *(_levels_row(evaluated, name) for name in ("site", "scanner")),
        Row(
            "Longest edge of a voxel, mm",
            (_spacing(inputs),),
            note="of all scans that were judged, as they came",
        ),
    ]
    return Table(
        caption="Sources, as the manifest and the scans give them",
        columns=("What", "Known"),
        rows=tuple(rows),
        wide=("Known",),
    )


def _known(value: Any) -> str:
    return "not known" if value is None else str(value)


def _scans_per_patient(inputs: ReportInputs) -> str:
    if inputs.scans is None:
        return "not known"
    patient_ids = inputs.scans["patient_id"].astype(str)
    evaluated = set(inputs.evaluated.index.astype(str))
    per_patient = patient_ids[patient_ids.isin(evaluated)].value_counts()
    found = per_patient.value_counts().sort_index()
    return "; ".join(
        f"{n} {'scan' if n == 1 else 'scans'}: {k} {'patient' if k == 1 else 'patients'}"
        for n, k in found.items()
    )


def _levels_row(evaluated: pd.DataFrame, column: str) -> Row:
    title = {"site": "Sites", "scanner": "Scanners"}[column]
    values = as_text(evaluated[column]) if column in evaluated else pd.Series([], dtype=str)
    known = values[values != ""]
    if known.empty:
        return Row(title, ("not given in the manifest",))
    counts = known.value_counts().sort_index()
    listed = ", ".join(f"{name} ({n})" for name, n in counts.items())
    gone = len(values) - len(known)
    text = f"{len(counts)}" + (f": {listed}" if len(counts) <= _MAX_RATINGS else "")
    return Row(title, (text + (f"; not given for {gone}" if gone else ""),))


def _spacing(inputs: ReportInputs) -> str:
    if inputs.quality is None or "spacing_mm" not in inputs.quality:
        return "not known"
    values = pd.to_numeric(inputs.quality["spacing_mm"], errors="coerce")
    known = values.dropna()
    if known.empty:
        return "not known"
    span = f"{number(float(known.min()), 2)} to {number(float(known.max()), 2)}"
    text = f"median [quartiles] {median_and_quartiles(values)}, from {span}"
    return text if len(known) == len(values) else f"{text}; {len(values) - len(known)} not known"


def _label_sentences(inputs: ReportInputs) -> list[str]:
    spec, task = inputs.settings.labels, inputs.task
    negative, positive = task.labels
    sentences = [
        "The label is what the manifest says in its column \u201clabel\u201d. The software takes "
        "it as the reference standard, changes no value of it and checks none against the scan.",
        f"The positive label is {positive}: the score is its probability.",
    ]
    classes = spec.classes
    if classes:
        sentences.append(
            f"Labels told apart: {', '.join(classes)}. For the score every label but "
            f"{positive} counts as {negative}."
        )
    else:
        sentences.append(f"It is told from the label {negative}.")
    if spec.unlabelled == "keep":
        sentences.append(
            "Scans with another label, or none, were prepared and encoded too, but not evaluated."
        )
    else:
        sentences.append(
            "Scans with another label, or none, were left out. A missing label was never read as "
            "healthy."
        )
    return sentences


def _label_table(inputs: ReportInputs) -> Table | None:
    positive = inputs.task.positive
    labels = as_text(inputs.evaluated["label"])

    def share(name: str) -> str:
        return f"{100 * float((labels == name).mean()):.0f}\u00a0%" if len(labels) else "\u2013"

    return table_of(
        label_names(inputs),
        "Values of the label and what they count as",
        Column("Label in the manifest", lambda name: name),
        Column("Counts as", lambda name: "positive" if name == positive else "negative", wide=True),
        Column("Patients", lambda name: str(int((labels == name).sum()))),
        Column("Share", share),
    )


def _rating_blocks(inputs: ReportInputs) -> list[Any]:
    """Show columns that tell the label without fail: where it comes from, or what comes from it."""
    found = [name for name in inputs.patients.columns if tells_label(inputs, str(name))]
    if not found:
        return [missing("No column of the manifest tells the label of every patient.")]
    names = " and ".join(f"\u201c{name}\u201d" for name in map(str, found))
    tells = "tells" if len(found) == 1 else "tell"
    return [
        Text(
            text=f"The manifest's {names} {tells} the label of every patient whose value is known. "
            "The label may have been made from it; the model does not see it, and it must not be "
            "used as a baseline."
        ),
        folded("Label by these columns", [_cross_table(inputs, str(name)) for name in found]),
    ]


def tells_label(inputs: ReportInputs, column: str) -> bool:
    """Whether each value of a column goes with one label alone; of a few values only."""
    values, labels = as_text(inputs.evaluated[column]), as_text(inputs.evaluated["label"])
    known = pd.DataFrame({"value": values, "label": labels})[(values != "") & (labels != "")]
    if column == "label" or known["label"].nunique() < 2:
        return False
    per_value = known.groupby("value")["label"]
    # A value that stands for one patient alone tells everything by accident.
    levels = int(known["value"].nunique())
    return levels <= min(_MAX_RATINGS, len(known) // 3) and bool((per_value.nunique() == 1).all())


def _cross_table(inputs: ReportInputs, column: str) -> Table | None:
    evaluated = inputs.evaluated
    labels, values = as_text(evaluated["label"]), as_text(evaluated[column])
    levels = sorted(set(values), key=lambda text: (text == "", _order(evaluated[column], text)))
    title = title_of(column)

    def patients(name: str) -> Column[str]:
        return Column(name, lambda level: str(int(((values == level) & (labels == name)).sum())))

    return table_of(
        levels,
        f"Patients by {title} and label",
        Column(title, lambda level: level or "not known"),
        *map(patients, label_names(inputs)),
    )


def _order(values: pd.Series[Any], text: str) -> tuple[float, str]:
    return (float(text) if text and is_number(values) else 0.0, text)
