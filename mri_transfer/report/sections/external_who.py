"""Sections of an external test: who counts, how they differ from development, are they enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mri_transfer.evaluation.external.document import CohortSampleSize
from mri_transfer.evaluation.external.results import (
    CaseMix,
    CaseMixComparison,
    Criterion,
)
from mri_transfer.report.blocks.blocks import findings, folded, how, joined, missing, section_of
from mri_transfer.report.blocks.cells import Column, table_of
from mri_transfer.report.blocks.document import Block, Heading, Section, Table, Text
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.external_inputs import ExternalInputs
from mri_transfer.report.tables.tables import exclusion_counts, exclusion_list

__all__ = ["case_mix_section", "size_section", "who_section"]

_CRITERIA = {
    "auc": "AUC",
    "calibration_slope": "Calibration slope",
    "observed_to_expected": "Observed to expected patients",
    "patients_per_label": "Patients of the rarer label",
}
_MIX = {
    "age": "Age, years",
    "linear_predictor": "Log-odds of the score",
    "linear_predictor_positive": "Log-odds, positive label",
    "linear_predictor_negative": "Log-odds, negative label",
}


def who_section(inputs: ExternalInputs) -> Section:
    """Return who counts: overlap with training, the input contract, and what was left out."""
    cohort = inputs.document.cohort
    known = cohort.n_overlapping
    who = "1 patient was" if known == 1 else f"{known} patients were"
    if not known:
        met = "No patient and no scan of this cohort was trained on, as far as salted hashes tell."
    elif cohort.overlap_counted:
        met = f"{who} trained on and counted all the same: the figures are no test."
    else:
        met = f"{who} trained on and left out of all figures."
    return section_of(
        "who",
        "Who counts",
        Text(text=met, role="fault" if known and cohort.overlap_counted else "finding"),
        folded("Who they are", _names(inputs.overlapping)),
        Heading(text="Input contract"),
        _contract(inputs),
        Heading(text="Left out"),
        exclusion_counts(inputs.left_out) or missing("No scan was left out."),
        folded("Scan by scan", exclusion_list(inputs.left_out)),
    )


def _names(names: Sequence[str]) -> Table | None:
    caption = "Patients who were trained on"
    return table_of(names, caption, Column("Patient", lambda name: name), name="overlap")


def _contract(inputs: ExternalInputs) -> tuple[Block, ...]:
    cohort = inputs.document.cohort
    outside, n = cohort.n_outside_contract, inputs.everybody.n
    text = Text(
        text=f"{outside} of {n} patients {'lies' if outside == 1 else 'lie'} outside what the "
        "model was made for; in use it would abstain there.",
        role="finding",
    )
    if not outside:
        return (text,)
    checks = table_of(
        cohort.outside_contract,
        "Checks that are not met; a patient may fail several",
        Column("Check", lambda fault: fault.check),
        Column("Patients", lambda fault: str(fault.n)),
        name="contract",
    )
    listed = table_of(
        sorted(inputs.faults),
        "Patients outside the contract",
        Column("Patient", lambda patient: patient),
        Column("Checks not met", lambda patient: "; ".join(inputs.faults[patient]), wide=True),
        name="outside",
    )
    return joined(text, checks, folded("Patient by patient", listed))


def case_mix_section(inputs: ExternalInputs) -> Section:
    """Return how this cohort's patients differ from those of development."""
    name, title, short = "case-mix", "Case-mix", "Case-mix"
    mix = inputs.everybody.case_mix
    if mix is None:
        return section_of(name, title, missing("No patient is left to describe."), short=short)
    table = None if mix.development is None else _mix_table(mix, mix.development)
    return section_of(
        name,
        title,
        findings(mix.sentences),
        table,
        _sex_table(mix),
        how(
            "The wider the log-odds of the scores spread, the easier patients are told apart; "
            "where they spread as in development, figures test whether the model can be "
            "reproduced, where they do not, whether it can be transported (Debray et al. 2015)."
        ),
        missing(
            "How well a model could tell which cohort a patient is from is not shown: that needs "
            "the data of both cohorts' patients in one place, and a bundle carries none."
        ),
        short=short,
    )


def _mix_table(mix: CaseMixComparison, development: CaseMix) -> Table | None:
    def moments(title: str, side: CaseMix) -> Column[str]:
        def cell(key: str) -> str:
            part = "all" if key == "linear_predictor" else key.rpartition("_")[2]
            entry = side.age if key == "age" else getattr(side.linear_predictor, part)
            return f"{number(entry.mean, 2)} ({number(entry.sd, 2)})\nn = {entry.n}"

        return Column(title, cell)

    return table_of(
        _MIX,
        "Mean (standard deviation)",
        Column("Of patients", lambda key: _MIX[key]),
        moments("This cohort", mix.cohort),
        moments("Development", development),
        Column("Difference", lambda key: number(mix.differences[key].difference, 2)),
        Column("in standard deviations", lambda key: number(mix.differences[key].standardised, 2)),
        Column(
            "Ratio of standard deviations", lambda key: number(mix.differences[key].sd_ratio, 2)
        ),
        name="case-mix",
    )


def _sex_table(mix: CaseMixComparison) -> Table | None:
    groups = {
        "This cohort": mix.cohort.sex,
        "Development": {} if mix.development is None else mix.development.sex,
    }

    def share(title: str) -> Column[str]:
        counts = Counter(groups[title])
        total = counts.total()

        def cell(level: str) -> str:
            percent = number(100 * counts[level] / max(total, 1), 0)
            return f"{counts[level]} ({percent}\u00a0%)" if total else "not told"

        return Column(title, cell)

    levels = sorted({level for counts in groups.values() for level in counts})
    return table_of(
        levels, "Sex", Column("Sex", lambda level: level), *map(share, groups), name="sex"
    )


def size_section(inputs: ExternalInputs) -> Section:
    """Return whether the cohort is large enough for what it is asked."""
    size = inputs.everybody.sample_size
    if size is None:
        content: tuple[Block, ...] = (missing(f"Not computed: {inputs.everybody.reason}."),)
    else:
        sentence = (
            "The cohort is large enough by every criterion."
            if size.all_enough
            else "The cohort is too small for some of what is asked of it: read the intervals."
        )
        content = joined(
            findings([sentence]),
            _size_table(size),
            how(
                "Half-widths of intervals that follow from the number of patients, the spread of "
                "the scores and the AUC that was promised, not from the figures found here."
            ),
        )
    return section_of("size", "Is the cohort large enough?", content, short="Sample size")


def _size_table(size: CohortSampleSize) -> Table | None:
    return table_of(
        size.criteria,
        f"{size.n} patients, {size.n_positive} with the positive label",
        Column("Figure", lambda criterion: _CRITERIA[criterion.figure]),
        Column("Aim", _aim),
        Column("To expect here", _expected),
        Column("Enough", lambda criterion: "yes" if criterion.enough else "no"),
        Column(
            "Patients needed",
            lambda criterion: (
                "not known" if criterion.n_needed is None else str(criterion.n_needed)
            ),
        ),
        Column("Source", lambda criterion: criterion.source, wide=True),
        state=lambda criterion: "" if criterion.enough else "quiet",
        name="sample-size",
    )


def _aim(criterion: Criterion) -> str:
    if criterion.figure == "patients_per_label":
        return f"{criterion.target} or more"
    return f"\u00b1{number(criterion.target_half_width, 2)}"


def _expected(criterion: Criterion) -> str:
    if criterion.figure == "patients_per_label":
        return str(criterion.found)
    half = criterion.expected_half_width
    return f"not defined: {criterion.reason}" if half is None else f"\u00b1{number(half, 2)}"
