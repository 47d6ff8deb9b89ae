"""The same scores in parts of the cohort, and between patients of the same age."""

from __future__ import annotations

from mri_transfer.evaluation.subgroup_levels import NOT_RECORDED
from mri_transfer.report.blocks.blocks import (
    findings,
    folded,
    how,
    joined,
    missing,
    section_of,
)
from mri_transfer.report.blocks.document import Block, Heading, Section, Text
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.group_tables import (
    age_table,
    gap_table,
    group_name,
    main_subgroups,
    subgroup_table,
)

__all__ = ["subgroups_section"]


def subgroups_section(inputs: ReportInputs) -> Section:
    """Return subgroups, the gaps between them, and the evaluation at equal age."""
    return section_of(
        "subgroups",
        "Subgroups",
        _groups(inputs),
        Heading(text="At equal age"),
        _equal_age(inputs),
    )


def _groups(inputs: ReportInputs) -> tuple[Block, ...]:
    whole = subgroup_table(inputs)
    if whole is None:
        return (missing("No subgroup was evaluated."),)
    gaps = gap_table(inputs)
    note = inputs.evaluation.subgroups.gaps.note if gaps is not None else ""
    return joined(
        main_subgroups(inputs),
        _not_shown(inputs),
        folded(
            "Every subgroup and every figure",
            Text(
                text="No conclusion should be drawn from the rows in grey; each says why, and that "
                "was decided before their figures were examined."
            ),
            whole,
            how(
                "Below the number of patients is the half-width that the interval of the AUC is "
                "expected to have with so many. Share minus mean score: above 0 the scores are too "
                "low in the subgroup, below 0 too high."
            ),
        ),
        folded(
            "Differences between levels",
            gaps,
            how(note.replace("p_holm", "the p value for all together")) if note else None,
        )
        if gaps is not None
        else None,
    )


def _not_shown(inputs: ReportInputs) -> Text | None:
    """Name the groups that are too small, and those that nobody recorded, in a sentence each."""
    rows = inputs.evaluation.subgroups.rows
    known = [row for row in rows if row.level != NOT_RECORDED]
    small = [f"{group_name(row.group)}: {row.level}" for row in known if not row.enough]
    recorded = {row.group for row in known}
    unknown = dict.fromkeys(group_name(row.group) for row in rows if row.group not in recorded)
    sentences = []
    if small:
        sentences.append(f"Too few patients for any statement: {', '.join(small)}.")
    if unknown:
        sentences.append(f"Not recorded: {', '.join(unknown).lower()}.")
    return Text(text=" ".join(sentences)) if sentences else None


def _equal_age(inputs: ReportInputs) -> tuple[Block, ...]:
    found = inputs.evaluation.age_matched
    unknown = found.n_age_missing
    left_out = "patient of unknown age is" if unknown == 1 else "patients of unknown age are"
    return joined(
        findings([found.sentence]),
        folded(
            "At equal age in numbers",
            age_table(inputs),
            how(
                "Where patients with the label are older, a model that reads age alone looks good. "
                "At equal age, by matching or by weights, age no longer helps (its AUC is near "
                "0.5), and what is left of the model's AUC is not age."
                + (f" {unknown} {left_out} left out." if unknown else "")
            ),
        ),
    )
