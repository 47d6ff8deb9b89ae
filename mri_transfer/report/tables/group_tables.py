"""For whom the scores hold and for whom they fail: subgroups, equal age, the worst patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mri_transfer.report.blocks.cells import Row, Table, confidence_text, percent, stacked
from mri_transfer.report.blocks.wording import bare_p, count, label_of, number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.patient_results import threshold_spans

__all__ = ["age_table", "failure_table", "gap_table", "group_name", "subgroup_table"]

_MEASURES = ("auc", "balanced_accuracy", "sensitivity", "specificity")


def subgroup_table(inputs: ReportInputs) -> Table | None:
    """Return every subgroup; those too small to say anything are quiet and say so."""
    found = (inputs.evaluation.get("subgroups") or {}).get("rows") or []
    negative, positive = inputs.labels
    rows = []
    for entry in found:
        width = entry.get("expected_half_width")
        expected = f"; AUC \u00b1{number(width)}" if width is not None else ""
        labels = f"{entry['n_positive']} {positive}, {entry['n_negative']} {negative}"
        cells = (
            f"{entry['n']}\n{labels}{expected}",
            *(stacked(entry[name]) for name in _MEASURES),
            stacked(entry["calibration"]),
            stacked(entry["mean_score_positive"]),
        )
        remarks = (entry.get("reason") or "", entry.get("comment") or "")
        rows.append(
            Row(
                f"{group_name(entry)}: {entry['level']}",
                cells,
                note="; ".join(filter(None, remarks)),
                state="" if entry["enough"] else "quiet",
            )
        )
    if not rows:
        return None
    return Table(
        caption=f"Subgroups, with {confidence_text(inputs)}",
        columns=(
            "Subgroup",
            "Patients, and what to expect",
            *map(label_of, _MEASURES),
            f"Share of {positive} minus mean score",
            f"Mean score of {positive}",
        ),
        rows=tuple(rows),
    )


def gap_table(inputs: ReportInputs) -> Table | None:
    """Return the best against the worst level of each group."""
    found = ((inputs.evaluation.get("subgroups") or {}).get("gaps") or {}).get("rows") or []
    rows = []
    for entry in found:
        compared = entry["difference"].get("value") is not None
        cells = (
            str(entry["highest"] or "none"),
            str(entry["lowest"] or "none"),
            stacked(entry["difference"]),
            bare_p(entry["p"]) if compared else "not compared",
            bare_p(entry["p_holm"]) if compared else "not compared",
        )
        head = f"{group_name(entry)}: {label_of(entry['measure'])}"
        rows.append(Row(head, cells, state="" if compared else "quiet"))
    if not rows:
        return None
    return Table(
        caption=f"Largest difference between levels, with {confidence_text(inputs)}",
        columns=("Group", "Highest", "Lowest", "Difference", "p", "p for all together (Holm)"),
        rows=tuple(rows),
        wide=("Highest", "Lowest"),
    )


def age_table(inputs: ReportInputs) -> Table | None:
    """Return how the score and age itself rank patients: as they are, and at equal age."""
    found = inputs.evaluation.get("age_matched") or {}
    if not found:
        return None
    matched, weighted = found["matched"], found["weighted"]
    effective = weighted["effective_n"]
    worth = " and ".join(
        f"{count(effective[key])} {label}"
        for key, label in (("positive", inputs.labels[1]), ("negative", inputs.labels[0]))
    )
    rows = [
        _age_row("All of known age", found["all"], f"{found['n_patients']} patients"),
        _age_row(
            "Matched pairs",
            matched,
            f"{matched['n_pairs']} pairs, at most {found['caliper_years']:g} years apart, matched "
            f"on {', '.join(found['matched_on'])}",
        ),
        _age_row(
            "Weighted to equal age",
            weighted,
            f"balanced in {', '.join(weighted['covariates'])}; worth {worth}",
        ),
        Row(
            "Within pairs",
            (stacked(matched["won_within_pairs"]), "", "", ""),
            note=f"pairs in which the patient labelled {inputs.labels[1]} scores higher",
        ),
    ]
    return Table(
        caption=f"At equal age, with {confidence_text(inputs)}",
        columns=(
            "Patients",
            "AUC of the score",
            "AUC of age alone",
            "Difference in age, years",
            "in standard deviations",
        ),
        rows=tuple(rows),
    )


def failure_table(inputs: ReportInputs) -> Table | None:
    """Return the patients whom the scores fail most, the worst first."""
    spans = threshold_spans(inputs)
    rows = [
        _failure_row(entry, spans.get(str(entry["patient_id"]), ""))
        for entry in inputs.evaluation.get("failures") or []
    ]
    if not rows:
        return None
    return Table(
        caption="The patients whom the scores fail most, the worst first",
        columns=(
            "Patient",
            "Label",
            "Mean score",
            "Range over repeats",
            f"Called {inputs.labels[1]} from",
            "Log loss",
            "Called wrongly, of the repeats",
            "Highest slices",
            "Lowest slices",
        ),
        rows=tuple(rows),
        wide=("Label", "Highest slices", "Lowest slices"),
    )


def _age_row(head: str, entry: Mapping[str, Any], note: str) -> Row:
    cells = (
        stacked(entry["auc"]),
        stacked(entry["age_auc"]),
        number(entry["age_difference_years"], 1),
        number(entry["age_smd"], 2),
    )
    return Row(head, cells, note=note)


def _failure_row(entry: Mapping[str, Any], threshold: str) -> Row:
    known = ", ".join(
        f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in (entry.get("covariates") or {}).items()
        if value is not None and name not in ("n_scans", "synthetic")
    )
    cells = (
        str(entry["label"]),
        number(entry["mean_score"], 2),
        f"{number(entry['score_low'], 2)} to {number(entry['score_high'], 2)}",
        threshold or "not known",
        number(entry["loss"], 2),
        percent(entry["called_wrongly"]),
        _slices(entry.get("highest_slices") or []),
        _slices(entry.get("lowest_slices") or []),
    )
    return Row(str(entry["patient_id"]), cells, note=known)


def group_name(entry: Mapping[str, Any]) -> str:
    """Return the name of what a subgroup is a level of, as words."""
    name = str(entry["group"])
    return "CDR" if name == "cdr" else label_of(name)


def _slices(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "not scored"
    return ", ".join(
        f"{number(one['score'], 2)} at {number(one['z_mm'], 0)}\u00a0mm" for one in found
    )
