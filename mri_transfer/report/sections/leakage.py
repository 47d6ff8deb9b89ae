"""What proves that nothing leaks: checks, stress test, identity of slices, duplicates."""

from __future__ import annotations

from mri_transfer.evaluation.audit.document import Duplicates, Similarity
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import (
    bullets,
    figure,
    findings,
    folded,
    how,
    joined,
    missing,
    section_of,
)
from mri_transfer.report.blocks.document import Block, Heading, Section, Text
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables import leakage_tables as tables
from mri_transfer.report.tables.audit_tables import check_table

__all__ = ["leakage_section"]

_TITLE, _SHORT = "Audit: did test data leak into training?", "Audit"


def leakage_section(inputs: ReportInputs) -> Section:
    """Return the audit's checks, the stress test, the identity probe and the duplicates."""
    if inputs.audit is None:
        return section_of(
            "leakage", _TITLE, missing("The audit was not run: nothing was checked."), short=_SHORT
        )
    return section_of(
        "leakage",
        _TITLE,
        _checks(inputs),
        _duplicates(inputs, inputs.audit.duplicates),
        Heading(text="Stress test: what a split by slice would claim"),
        _stress_test(inputs),
        _identity(inputs),
        short=_SHORT,
    )


def _checks(inputs: ReportInputs) -> tuple[Block, ...]:
    table = check_table(inputs)
    if table is None:
        return (missing("The audit holds no checks."),)
    failed = sum(row.state == "failed" for row in table.rows)
    reading = how(
        "The checks read what each fold recorded of its patients, scans and files; they refit some "
        "folds with the test patients' data scrambled, and recompute features. A check that had "
        "nothing to look at does not pass."
    )
    if failed:
        said = findings([f"{failed} of {len(table.rows)} checks did not pass."], role="fault")
        return joined(said, table, reading)
    return joined(
        findings([f"All {len(table.rows)} checks passed."]), folded("Every check", table, reading)
    )


def _stress_test(inputs: ReportInputs) -> tuple[Block, ...]:
    arms = tables.leakage_table(inputs)
    if arms is None or inputs.audit is None:
        return (missing("The leakage stress test was not run."),)
    chance = tables.permutation_table(inputs)
    several = tables.several_scans_tables(inputs)
    return joined(
        findings(tables.leakage_sentences(inputs)),
        figure(
            "leakage",
            figures.draw_leakage(inputs.audit),
            "Slice accuracy by split, with intervals; dotted: a coin toss. With permuted labels "
            "nothing can be learned, so a split without leakage stays at the dotted line.",
            tables.accuracy_table(inputs),
        ),
        folded(
            "The stress test in numbers",
            Text(
                text="The same head, trained repeatedly: with all slices of a patient on one side "
                "of the split, and with slices assigned one by one, so that slices of one patient "
                "are on both sides. Then with labels permuted among patients."
            ),
            arms,
            tables.inflation_table(inputs),
            chance,
            how(
                "The p value is one-sided and cannot be smaller than 1 / (1 + permutations): few "
                "permutations prove little."
            )
            if chance is not None
            else None,
            several or missing("Split by session: not tested, no patient has several scans."),
        ),
    )


def _identity(inputs: ReportInputs) -> Block | None:
    table = tables.identity_table(inputs)
    if table is None or inputs.audit is None:
        return missing("Whether features identify patients was not tested.")
    return folded(
        "Do features identify a patient?",
        findings([inputs.audit.leakage.identity.sentence]),
        table,
    )


def _duplicates(inputs: ReportInputs, duplicates: Duplicates) -> tuple[Block, ...]:
    """Return one sentence where nothing was found; otherwise what was, with every pair."""
    said = (_same_files(duplicates), _alike(duplicates), _unlike(inputs))
    found = joined(*said)
    if not found:
        found = (
            Text(
                text="No duplicates: no two scans are the same file, no two patients look like one "
                "person, and no patient's scans look like two people."
            ),
        )
    return joined(
        found, folded("Similarity of scans by their features", _by_features(inputs, duplicates))
    )


def _same_files(duplicates: Duplicates) -> tuple[Block, ...]:
    pairs = duplicates.identical_files
    if not pairs:
        return ()
    said = findings([f"Same file: {_pairs(len(pairs))} of scans have the same content:"])
    return joined(said, bullets(" = ".join(pair) for pair in pairs))


def _alike(duplicates: Duplicates) -> tuple[Block, ...]:
    shared = [pair for pair in duplicates.pairs if pair.across_patients]
    if not shared:
        return ()
    said = (
        f"Same person? {_pairs(len(shared))} of scans of different patients look like one person. "
        "If they are, the split by patient leaks there."
    )
    listed = (
        f"{pair.scan_a} (patient {pair.patient_a}) and {pair.scan_b} (patient "
        f"{pair.patient_b}): {pair.kind}"
        for pair in shared
    )
    return joined(findings([said], role="fault"), bullets(listed))


def _unlike(inputs: ReportInputs) -> tuple[Block, ...]:
    pairs = tables.one_id_two_people(inputs)
    if not pairs:
        return ()
    said = (
        f"Two people? {_pairs(len(pairs))} of scans under one patient identifier do not look like "
        "one brain. Two sites may have given the same identifier to different people."
    )
    listed = (
        f"{pair.scan_a} and {pair.scan_b} (patient {pair.patient_a}): similarity "
        f"{number(pair.similarity, 2)}"
        for pair in pairs
    )
    return joined(findings([said], role="fault"), bullets(listed))


def _by_features(inputs: ReportInputs, duplicates: Duplicates) -> tuple[Block, ...]:
    compared = duplicates.by_features
    if compared.reason:
        return (missing(f"Not compared: {compared.reason}."),)
    table = tables.likeness_table(inputs)
    if table is None:
        return ()
    listed = tables.similar_pairs(inputs) or Text(
        text=f"No two scans reach a similarity of {number(compared.threshold, 2)}."
    )
    return joined(table, _sampled(compared), listed)


def _sampled(compared: Similarity) -> Text | None:
    """Return what is said where not every pair of scans was compared in full."""
    of_all = compared.n_scans * (compared.n_scans - 1) // 2
    n = compared.different_patients.n + compared.same_patient.n
    if n >= of_all:
        return None
    return Text(
        text=f"The cohort has {of_all} pairs of scans. Figures of different patients are those of "
        f"{compared.different_patients.n} pairs drawn, but for the largest. Pairs at the threshold "
        "were looked for among all by random projections, and each one found was compared in full; "
        "one that is there is missed with a chance below one in a hundred thousand.",
        role="note",
    )


def _pairs(n: int) -> str:
    return "1 pair" if n == 1 else f"{n} pairs"
