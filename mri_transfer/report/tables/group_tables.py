"""For whom the scores hold and for whom they fail: subgroups, equal age, the worst patients."""

from __future__ import annotations

from collections.abc import Sequence

from mri_transfer.evaluation.group_results import (
    AgeBalance,
    Failure,
    ScoredSlice,
    Subgroup,
    SubgroupGap,
)
from mri_transfer.evaluation.subgroup_levels import NOT_RECORDED
from mri_transfer.report.blocks.cells import (
    Column,
    Row,
    Table,
    confidence_text,
    figure_column,
    percent,
    stacked,
    table_of,
)
from mri_transfer.report.blocks.wording import bare_p, count, label_of, number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.patient_results import patient_results, threshold_spans

__all__ = [
    "age_table",
    "failure_table",
    "gap_table",
    "group_name",
    "main_subgroups",
    "subgroup_table",
]

_MEASURES = ("auc", "balanced_accuracy", "sensitivity", "specificity")


def subgroup_table(inputs: ReportInputs) -> Table | None:
    """Return every subgroup; those too small to say anything are quiet and say so."""
    task = inputs.task

    def size(row: Subgroup) -> str:
        width = row.expected_half_width
        expected = f"; AUC \u00b1{number(width)}" if width is not None else ""
        return (
            f"{row.n}\n{row.n_positive} {task.positive}, {row.n_negative} {task.negative}{expected}"
        )

    return table_of(
        inputs.evaluation.subgroups.rows,
        f"Subgroups, with {confidence_text(inputs)}",
        Column("Subgroup", lambda row: f"{group_name(row.group)}: {row.level}"),
        Column("Patients, and what to expect", size),
        *(figure_column(label_of(name), name) for name in _MEASURES),
        Column(f"Share of {task.positive} minus mean score", lambda row: stacked(row.calibration)),
        Column(f"Mean score of {task.positive}", lambda row: stacked(row.mean_score_positive)),
        note=lambda row: "; ".join(filter(None, (row.reason, row.comment))),
        state=lambda row: "" if row.enough else "quiet",
    )


def main_subgroups(inputs: ReportInputs) -> Table | None:
    """Return the subgroups that are large enough for a statement; None where none is."""
    return table_of(
        [
            row
            for row in inputs.evaluation.subgroups.rows
            if row.enough and row.level != NOT_RECORDED
        ],
        f"Groups with enough patients, with {confidence_text(inputs)}",
        Column("Subgroup", lambda row: f"{group_name(row.group)}: {row.level}"),
        Column("Patients", lambda row: str(row.n)),
        *(figure_column(label_of(name), name, 2) for name in ("auc", "sensitivity", "specificity")),
    )


def gap_table(inputs: ReportInputs) -> Table | None:
    """Return the best against the worst level of each group."""

    def compared(row: SubgroupGap, p: float | None) -> str:
        return "not compared" if row.difference.value is None else bare_p(p)

    return table_of(
        inputs.evaluation.subgroups.gaps.rows,
        f"Largest difference between levels, with {confidence_text(inputs)}",
        Column("Group", lambda row: f"{group_name(row.group)}: {label_of(row.measure)}"),
        Column("Highest", lambda row: row.highest or "none", wide=True),
        Column("Lowest", lambda row: row.lowest or "none", wide=True),
        Column("Difference", lambda row: stacked(row.difference)),
        Column("p", lambda row: compared(row, row.p)),
        Column("p for all together (Holm)", lambda row: compared(row, row.p_holm)),
        state=lambda row: "quiet" if row.difference.value is None else "",
    )


def age_table(inputs: ReportInputs) -> Table:
    """Return how the score and age itself rank patients: as they are, and at equal age."""
    found, task = inputs.evaluation.age_matched, inputs.task
    matched, weighted = found.matched, found.weighted
    worth = (
        f"{count(weighted.effective_n.positive)} {task.positive} and "
        f"{count(weighted.effective_n.negative)} {task.negative}"
    )
    rows = [
        _age_row("All of known age", found.all, f"{found.n_patients} patients"),
        _age_row(
            "Matched pairs",
            matched,
            f"{matched.n_pairs} pairs, at most {found.caliper_years:g} years apart, matched "
            f"on {', '.join(found.matched_on)}",
        ),
        _age_row(
            "Weighted to equal age",
            weighted,
            f"balanced in {', '.join(weighted.covariates)}; worth {worth}",
        ),
        Row(
            "Within pairs",
            (stacked(matched.won_within_pairs), "", "", ""),
            note=f"pairs in which the patient labelled {task.positive} scores higher",
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
    failed = {patient.patient_id for patient in inputs.evaluation.failures}
    spans = threshold_spans(
        inputs, [result for result in patient_results(inputs) if result.patient_id in failed]
    )
    return table_of(
        inputs.evaluation.failures,
        "The patients whom the scores fail most, the worst first",
        Column("Patient", lambda patient: patient.patient_id),
        Column("Label", lambda patient: patient.label, wide=True),
        Column("Mean score", lambda patient: number(patient.mean_score, 2)),
        Column(
            "Range over repeats",
            lambda patient: f"{number(patient.score_low, 2)} to {number(patient.score_high, 2)}",
        ),
        Column(
            f"Called {inputs.task.positive} from",
            lambda patient: spans.get(patient.patient_id) or "not known",
        ),
        Column("Log loss", lambda patient: number(patient.loss, 2)),
        Column(
            "Called incorrectly, of the repeats", lambda patient: percent(patient.called_wrongly)
        ),
        Column("Highest slices", lambda patient: _slices(patient.highest_slices), wide=True),
        Column("Lowest slices", lambda patient: _slices(patient.lowest_slices), wide=True),
        note=_covariates,
    )


def _age_row(head: str, entry: AgeBalance, note: str) -> Row:
    cells = (
        stacked(entry.auc),
        stacked(entry.age_auc),
        number(entry.age_difference_years, 1),
        number(entry.age_smd, 2),
    )
    return Row(head, cells, note=note)


def _covariates(patient: Failure) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in patient.covariates.items()
        if value is not None and name not in ("n_scans", "synthetic")
    )


def group_name(name: str) -> str:
    """Return the name of what a subgroup is a level of, as words."""
    return "CDR" if name == "cdr" else label_of(name)


def _slices(slices: Sequence[ScoredSlice]) -> str:
    if not slices:
        return "not scored"
    return ", ".join(
        f"{number(scored.score, 2)} at {number(scored.z_mm, 0)}\u00a0mm" for scored in slices
    )
