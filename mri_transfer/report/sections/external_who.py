"""Sections of an external test: who counts, how they differ from development, are they enough."""

from __future__ import annotations

from collections.abc import Sequence

from mri_transfer.evaluation.external.results import CaseMix, CaseMixComparison
from mri_transfer.report.blocks.blocks import findings, folded, how, joined, missing, section_of
from mri_transfer.report.blocks.document import Block, Heading, Row, Section, Table, Text
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
        "Who counts",
        Text(text=met, role="fault" if known and cohort.overlap_counted else "finding"),
        folded("Who they are", _names(inputs.overlapping)) if known else None,
        Heading(text="Input contract"),
        _contract(inputs),
        Heading(text="Left out"),
        exclusion_counts(inputs.left_out)
        if len(inputs.left_out)
        else missing("No scan was left out."),
        folded("Scan by scan", exclusion_list(inputs.left_out)) if len(inputs.left_out) else None,
    )


def _names(names: Sequence[str]) -> Table:
    return Table(
        name="overlap",
        caption="Patients who were trained on",
        columns=("Patient",),
        rows=tuple(Row(name, ()) for name in names),
    )


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
    checks = Table(
        name="contract",
        caption="Checks that are not met; a patient may fail several",
        columns=("Check", "Patients"),
        rows=tuple(Row(one.check, (str(one.n),)) for one in cohort.outside_contract),
    )
    listed = Table(
        name="outside",
        caption="Patients outside the contract",
        columns=("Patient", "Checks not met"),
        rows=tuple(Row(name, ("; ".join(found),)) for name, found in sorted(inputs.faults.items())),
        wide=("Checks not met",),
    )
    return joined(text, checks, folded("Patient by patient", listed))


def case_mix_section(inputs: ExternalInputs) -> Section:
    """Return how this cohort's patients differ from those of development."""
    name, title, short = "case-mix", "Case-mix", "Case-mix"
    mix = inputs.everybody.case_mix
    if mix is None:
        return section_of(name, title, short, missing("No patient is left to describe."))
    table = None if mix.development is None else _mix_table(mix, mix.development)
    return section_of(
        name,
        title,
        short,
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
    )


def _mix_table(mix: CaseMixComparison, development: CaseMix) -> Table:
    rows = []
    for key, title in _MIX.items():
        part = "all" if key == "linear_predictor" else key.rpartition("_")[2]
        groups = []
        for side in (mix.cohort, development):
            one = side.age if key == "age" else getattr(side.linear_predictor, part)
            groups.append(f"{number(one.mean, 2)} ({number(one.sd, 2)})\nn = {one.n}")
        found = mix.differences[key]
        cells = [number(x, 2) for x in (found.difference, found.standardised, found.sd_ratio)]
        rows.append(Row(title, (*groups, *cells)))
    return Table(
        name="case-mix",
        caption="Mean (standard deviation)",
        columns=(
            "Of patients",
            "This cohort",
            "Development",
            "Difference",
            "in standard deviations",
            "Ratio of standard deviations",
        ),
        rows=tuple(rows),
    )


def _sex_table(mix: CaseMixComparison) -> Table | None:
    groups = {
        "This cohort": mix.cohort.sex,
        "Development": {} if mix.development is None else mix.development.sex,
    }
    levels = sorted({level for counts in groups.values() for level in counts})
    if not levels:
        return None
    rows = []
    for level in levels:
        cells = []
        for counts in groups.values():
            total = sum(counts.values())
            count = counts.get(level, 0)
            share = number(100 * count / max(total, 1), 0)
            cells.append(f"{count} ({share}\u00a0%)" if total else "not told")
        rows.append(Row(level, tuple(cells)))
    return Table(name="sex", caption="Sex", columns=("Sex", *groups), rows=tuple(rows))


def size_section(inputs: ExternalInputs) -> Section:
    """Return whether the cohort is large enough for what it is asked."""
    name, title, short = "size", "Is the cohort large enough?", "Sample size"
    found = inputs.everybody.sample_size
    if found is None:
        return section_of(name, title, short, missing(f"Not computed: {inputs.everybody.reason}."))
    rows = []
    for one in found.criteria:
        if one.figure == "patients_per_label":
            aim, here = f"{one.target} or more", str(one.found)
        else:
            aim = f"\u00b1{number(one.target_half_width, 2)}"
            half = one.expected_half_width
            here = f"not defined: {one.reason}" if half is None else f"\u00b1{number(half, 2)}"
        needed = one.n_needed
        rows.append(
            Row(
                _CRITERIA[one.figure],
                (
                    aim,
                    here,
                    "yes" if one.enough else "no",
                    "not known" if needed is None else str(needed),
                    one.source,
                ),
                state="" if one.enough else "quiet",
            )
        )
    sentence = (
        "The cohort is large enough by every criterion."
        if found.all_enough
        else "The cohort is too small for some of what is asked of it: read the intervals."
    )
    return section_of(
        name,
        title,
        short,
        findings([sentence]),
        Table(
            name="sample-size",
            caption=f"{found.n} patients, {found.n_positive} with the positive label",
            columns=("Figure", "Aim", "To expect here", "Enough", "Patients needed", "Source"),
            rows=tuple(rows),
            wide=("Source",),
        ),
        how(
            "Half-widths of intervals that follow from the number of patients, the spread of the "
            "scores and the AUC that was promised, not from the figures found here."
        ),
    )
