"""The same scores in parts of the cohort, and between patients of the same age."""

from __future__ import annotations

from mri_transfer.report.blocks.blocks import findings, how, joined, section_of, shown_or_missing
from mri_transfer.report.blocks.document import Block, Heading, Section, Text
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.group_tables import age_table, gap_table, subgroup_table

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
    gaps = gap_table(inputs)
    note = inputs.evaluation.subgroups.gaps.note if gaps is not None else ""
    return shown_or_missing(
        subgroup_table(inputs),
        "No subgroup was evaluated.",
        before=Text(
            text="The same scores in parts of the cohort. No conclusion should be drawn from the "
            "rows in grey; each says why, and that was decided before their figures were examined."
        ),
        after=[
            how(
                "Below the number of patients is the half-width that the interval of the AUC is "
                "expected to have with so many. Share minus mean score: above 0 the scores "
                "are too low in the subgroup, below 0 too high."
            ),
            gaps,
            how(note.replace("p_holm", "the p value for all together")) if note else None,
        ],
    )


def _equal_age(inputs: ReportInputs) -> tuple[Block, ...]:
    found = inputs.evaluation.age_matched
    unknown = found.n_age_missing
    left_out = "patient of unknown age is" if unknown == 1 else "patients of unknown age are"
    return joined(
        findings([found.sentence]),
        age_table(inputs),
        how(
            "Where patients with the label are older, a model that reads age alone looks good. At "
            "equal age, by matching or by weights, age no longer helps (its AUC is near 0.5) and "
            "what is left of the model's AUC is not age."
            + (f" {unknown} {left_out} left out." if unknown else "")
        ),
    )
