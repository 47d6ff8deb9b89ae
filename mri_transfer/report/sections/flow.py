"""Section `flow`: how many scans and patients there were, and where each was left out."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import figure, folded, missing, section_of
from mri_transfer.report.blocks.cells import Row, Table
from mri_transfer.report.blocks.document import Section, Text
from mri_transfer.report.figures import FlowGroups, FlowStep
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.cohort import as_text, label_names
from mri_transfer.report.tables.tables import exclusion_counts, exclusion_list
from mri_transfer.scans.quality.rules import RULES

__all__ = ["exclusions_by_kind", "flow_section"]

#: In the order of the run, with what is true of the scans that are left after it.
_STAGES = {
    "check": "readable, with a label of the task",
    "prepare": "prepared, and of sufficient quality",
}
#: Reasons of a stage that the diagram names; the table has them all.
_MAX_REASONS = 6


def flow_section(inputs: ReportInputs) -> Section:
    """Return the section."""
    kinds = exclusions_by_kind(inputs)
    steps = _steps(inputs, kinds)
    groups = _groups(inputs)
    excluded = inputs.excluded
    return section_of(
        "flow",
        "Flow of scans and patients",
        Text(text=_sentence(inputs), role="finding"),
        figure(
            "flow",
            figures.draw_flow(steps, groups, title=_alternative(steps, groups)),
            "From what was offered to the folds. Dashed boxes: left out, with the reasons. "
            "The unit of splitting and of evaluation is the patient.",
            _step_table(steps),
            _label_table(inputs),
            _fold_table(inputs),
            wide=True,
        ),
        exclusion_counts(kinds) or missing("No scan was left out."),
        folded(f"All {len(excluded)} left out, scan by scan", exclusion_list(excluded)),
        Text(
            text="How many patients were approached, eligible and willing before there was a "
            "manifest, and why others were not: the flow of the software begins with the manifest.",
            role="supply",
        ),
        short="Flow",
    )


def exclusions_by_kind(inputs: ReportInputs) -> pd.DataFrame:
    """Return the exclusions with reasons of quality in few words, so that equal ones are counted.

    The reason of a scan that quality left out holds its own figures; what counts is which scores
    failed. Where the table of quality does not know the scan the reason stays as it is.
    """
    failed: dict[str, str] = {}
    if inputs.quality is not None:
        titles = {rule.name: rule.title for rule in RULES}
        for row in inputs.quality.to_dict("records"):
            names = [
                title for name, title in titles.items() if row.get(f"{name}_verdict") == "fail"
            ]
            failed[str(row["scan_id"])] = ", ".join(names)
    reasons = []
    for scan, reason in zip(
        as_text(inputs.excluded["scan_id"]), as_text(inputs.excluded["reason"]), strict=True
    ):
        known = failed.get(scan) if reason.startswith("quality: ") else None
        reasons.append(f"quality: {known}" if known else _without_scan(reason, scan))
    return inputs.excluded.assign(reason=reasons)


def _without_scan(reason: str, scan_id: str) -> str:
    """Return a reason without the scan and the file that an error of reading begins with."""
    if reason.startswith(f"scan {scan_id} (") and "): " in reason:
        return reason.partition("): ")[2]
    return reason.removeprefix(f"scan {scan_id}: ")


def _used(inputs: ReportInputs) -> pd.DataFrame:
    """Return the scans that no stage left out: scan_id, patient_id."""
    if inputs.scans is not None:
        return inputs.scans[["scan_id", "patient_id"]].astype(str)
    scans = inputs.slice_scores.drop_duplicates("scan_id")[["scan_id", "patient_id"]]
    return scans.astype(str)


def _steps(inputs: ReportInputs, kinds: pd.DataFrame) -> list[FlowStep]:
    """Return every point of the flow, the number of scans and patients there, and who left."""
    used, excluded = _used(inputs), inputs.excluded.astype(str)
    present = [str(stage) for stage in dict.fromkeys(excluded["stage"])]
    stages = [name for name in _STAGES if name in present]
    stages += sorted(set(present) - set(stages))
    left = pd.concat([used, excluded[["scan_id", "patient_id"]]])
    head: tuple[str, ...] = ("Offered in the manifest",)
    steps = []
    for stage in stages:
        gone = excluded[excluded["stage"] == stage]
        reasons = exclusion_counts(kinds[as_text(kinds["stage"]) == stage])
        out = _left_out(stage, gone, reasons.rows if reasons else ())
        steps.append(FlowStep(lines=(*head, _count(left)), left_out=out))
        left = left[~left["scan_id"].isin(set(gone["scan_id"]))]
        head = (f"Left after {stage}", *([_STAGES[stage]] if stage in _STAGES else ()))
    evaluated = set(inputs.evaluated.index.astype(str))
    unscored = used[~used["patient_id"].isin(evaluated)]
    unseen = ("Not evaluated", _count(unscored), "no score, since they have none of the labels")
    steps.append(FlowStep(lines=(*head, _count(left)), left_out=unseen if len(unscored) else ()))
    shown = used[used["patient_id"].isin(evaluated)]
    n_slices = inputs.evaluation.n_slices
    slices = () if n_slices is None else (f"{n_slices} slices",)
    steps.append(FlowStep(lines=("Evaluated", _count(shown), *slices)))
    return steps


def _left_out(stage: str, gone: pd.DataFrame, rows: tuple[Row, ...]) -> tuple[str, ...]:
    ranked = sorted(rows, key=lambda row: (-int(row.cells[1]), row.cells[0]))
    lines = [f"{row.cells[1]}: {row.cells[0]}" for row in ranked[:_MAX_REASONS]]
    rest = ranked[_MAX_REASONS:]
    if rest:
        n_rest = sum(int(row.cells[1]) for row in rest)
        lines.append(f"{n_rest}: {len(rest)} more reasons, in the table")
    return (f"Left out at {stage}", _count(gone), *lines)


def _groups(inputs: ReportInputs) -> list[FlowGroups]:
    by_label = FlowGroups(
        heading="By label (reference standard)",
        boxes=tuple((row.head, *row.cells) for row in _label_rows(inputs)),
    )
    found = [(repeat, rows) for repeat, rows in _repeats(inputs)]
    if not found:
        return [by_label]
    repeat, rows = found[0]
    more = f"; {len(found) - 1} more draws, see the table" if len(found) > 1 else ""
    names = label_names(inputs)
    boxes = tuple(
        (f"Fold {fold}", f"{sum(counts)} patients",
         ", ".join(f"{n} {name}" for n, name in zip(counts, names, strict=True)))
        for fold, counts in rows
    )  # fmt: skip
    heading = f"Held out for testing by each fold of repeat {repeat}{more}"
    return [by_label, FlowGroups(heading=heading, boxes=boxes)]


def _label_rows(inputs: ReportInputs) -> list[Row]:
    used = _used(inputs)
    labels = as_text(inputs.evaluated["label"])
    rows = []
    for name in label_names(inputs):
        patient_ids = set(labels.index[labels == name].astype(str))
        n_scans = int(used["patient_id"].isin(patient_ids).sum())
        rows.append(Row(name, (_noun(len(patient_ids), "patient"), _noun(n_scans, "scan"))))
    return rows


def _repeats(inputs: ReportInputs) -> Iterator[tuple[int, list[tuple[int, list[int]]]]]:
    """Yield each repeat with its folds and the patients of each label in them."""
    if inputs.folds is None:
        return
    label_of = as_text(inputs.evaluated["label"])
    label_of.index = label_of.index.astype(str)
    labels = inputs.folds["patient_id"].astype(str).map(label_of.to_dict())
    names = label_names(inputs)
    for repeat, rows in inputs.folds.assign(label=labels).groupby("repeat", sort=True):
        yield (
            int(str(repeat)),
            [
                (int(str(fold)), [int((held["label"] == name).sum()) for name in names])
                for fold, held in rows.groupby("fold", sort=True)
            ],
        )


def _step_table(steps: list[FlowStep]) -> Table:
    rows = []
    for step in steps:
        rows.append(Row(step.lines[0], ("; ".join(step.lines[1:]),)))
        if step.left_out:
            head, number, *reasons = step.left_out
            rows.append(Row(head, (number,), note="; ".join(reasons)))
    return Table(
        caption="The flow in numbers",
        columns=("Step", "Number"),
        rows=tuple(rows),
        wide=("Number",),
    )


def _label_table(inputs: ReportInputs) -> Table:
    rows = tuple(
        Row(row.head, tuple(cell.split()[0] for cell in row.cells)) for row in _label_rows(inputs)
    )
    return Table(caption="Evaluated, by label", columns=("Label", "Patients", "Scans"), rows=rows)


def _fold_table(inputs: ReportInputs) -> Table | None:
    rows = [
        Row(f"{repeat}, {fold}", (str(sum(counts)), *map(str, counts)))
        for repeat, folds in _repeats(inputs)
        for fold, counts in folds
    ]
    columns = ("Repeat, fold", "Patients held out", *label_names(inputs))
    return Table(caption="Folds", columns=columns, rows=tuple(rows)) if rows else None


def _sentence(inputs: ReportInputs) -> str:
    used, excluded = _used(inputs), inputs.excluded.astype(str)
    offered = pd.concat([used, excluded[["scan_id", "patient_id"]]])
    lost = set(excluded["patient_id"]) - set(used["patient_id"])
    n_evaluated = len(inputs.evaluated)
    text = f"{_count(offered)} were offered, {_noun(n_evaluated, 'patient')} evaluated."
    if not len(excluded):
        return text
    gone = "was" if len(excluded) == 1 else "were"
    text += f" {_noun(len(excluded), 'scan')} {gone} left out"
    return text + (f"; {_noun(len(lost), 'patient')} had no scan left." if lost else ".")


def _alternative(steps: list[FlowStep], groups: list[FlowGroups]) -> str:
    parts = [f"{step.lines[0]}: {', '.join(step.lines[1:])}" for step in steps]
    left = [f"{step.left_out[0]}: {step.left_out[1]}" for step in steps if step.left_out]
    by_label = ", ".join(f"{box[0]} {box[1]}" for box in groups[0].boxes)
    said = "; ".join([*parts, *left])
    return f"Flow of scans and patients. {said}. By label: {by_label}."


def _count(scans: pd.DataFrame) -> str:
    n_patients = scans["patient_id"].astype(str).nunique()
    return f"{_noun(scans['scan_id'].nunique(), 'scan')} of {_noun(n_patients, 'patient')}"


def _noun(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
