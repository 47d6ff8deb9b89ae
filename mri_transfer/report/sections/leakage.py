"""What proves that nothing leaks: checks, stress test, identity of slices, duplicates."""

from __future__ import annotations

from mri_transfer.evaluation.audit.document import Duplicates
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import (
    bullets,
    figure,
    findings,
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


def leakage_section(inputs: ReportInputs) -> Section:
    """Return the audit's checks, the stress test, the identity probe and the duplicates."""
    audited = inputs.audit is not None
    return section_of(
        "leakage",
        "Leakage audit",
        Heading(text="What was checked"),
        _checks(inputs),
        Heading(text="Stress test"),
        _stress_test(inputs),
        Heading(text="Can a slice be recognised?") if audited else None,
        _identity(inputs) if audited else None,
        Heading(text="Duplicates") if audited else None,
        _duplicates(inputs) if audited else None,
        short="Leakage",
    )


def _checks(inputs: ReportInputs) -> tuple[Block, ...]:
    table = check_table(inputs)
    if table is None:
        if inputs.audit is None:
            return (missing("The audit was not run: nothing was checked."),)
        return (missing("The audit holds no checks."),)
    failed = sum(row.state == "failed" for row in table.rows)
    if failed:
        said = findings([f"{failed} of {len(table.rows)} checks did not pass."], role="fault")
    else:
        said = findings([f"All {len(table.rows)} checks passed."])
    return joined(
        said,
        table,
        how(
            "The checks read the records that each fold left (which patients, scans and files it "
            "saw), fit some folds again with the test patients blanked out, and compute features "
            "again. A check that had nothing to look at does not pass."
        ),
    )


def _stress_test(inputs: ReportInputs) -> tuple[Block, ...]:
    arms = tables.leakage_table(inputs)
    if arms is None or inputs.audit is None:
        return (missing("The leakage stress test was not run."),)
    chance = tables.permutation_table(inputs)
    several = tables.several_scans_tables(inputs)
    return joined(
        Text(
            text="The same head, trained repeatedly: with all slices of a patient on one side "
            "of the split, and with slices assigned one by one, so that slices of one patient "
            "stand on both sides. Then with labels permuted among patients, where nothing "
            "real can be learned."
        ),
        findings(tables.leakage_sentences(inputs)),
        figure(
            "leakage",
            figures.draw_leakage(inputs.audit),
            "Slice accuracy of the arms, with intervals.",
            tables.accuracy_table(inputs),
        ),
        arms,
        how(
            "With permuted labels a split without leakage must come out near chance. Where the "
            "split by slice comes out higher, the model has recognised patients, not disease."
        ),
        tables.inflation_table(inputs),
        chance,
        how(
            "The p value is one-sided and cannot be smaller than 1 / (1 + permutations): few "
            "permutations prove little."
        )
        if chance is not None
        else None,
        several or missing("Split by session: not tested, no patient has several scans."),
    )


def _identity(inputs: ReportInputs) -> tuple[Block, ...]:
    table = tables.identity_table(inputs)
    if table is None or inputs.audit is None:
        return (missing("Whether the features tell patients apart was not probed."),)
    return joined(findings([inputs.audit.leakage.identity.sentence]), table)


def _duplicates(inputs: ReportInputs) -> tuple[Block, ...]:
    if inputs.audit is None:
        return (missing("Duplicates were not looked for."),)
    duplicates = inputs.audit.duplicates
    parts = (
        _same_files(duplicates),
        _alike(duplicates),
        _unlike(inputs),
        _by_features(inputs, duplicates),
    )
    return joined(*parts)


def _same_files(duplicates: Duplicates) -> tuple[Block, ...]:
    pairs = duplicates.identical_files
    if not pairs:
        return (Text(text="By content: no two scans are the same file."),)
    said = findings([f"By content: {_pairs(len(pairs))} of scans are the same file:"])
    return joined(said, bullets(" = ".join(pair) for pair in pairs))


def _alike(duplicates: Duplicates) -> tuple[Block, ...]:
    shared = [pair for pair in duplicates.pairs if pair.across_patients]
    if not shared:
        text = "By voxels and brains: no two scans of different patients look like one person."
        return (Text(text=text),)
    said = (
        f"By voxels and brains: {_pairs(len(shared))} of scans of different patients look like one "
        "person: a split by patient leaks there."
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
        return (Text(text="Scans under one patient id all look like one brain, where compared."),)
    said = (
        f"One id, two people? {_pairs(len(pairs))} of scans under one patient id do not look like "
        "one brain. Two sites may have given the same id to different people."
    )
    listed = (
        f"{pair.scan_a} and {pair.scan_b} (patient {pair.patient_a}): likeness "
        f"{number(pair.similarity, 2)}"
        for pair in pairs
    )
    return joined(findings([said], role="fault"), bullets(listed))


def _by_features(inputs: ReportInputs, duplicates: Duplicates) -> tuple[Block, ...]:
    compared = duplicates.by_features
    if compared.reason:
        return (missing(f"By features: not compared, {compared.reason}."),)
    table = tables.likeness_table(inputs)
    if table is None:
        return ()
    listed = tables.similar_pairs(inputs) or Text(
        text=f"By features: no two scans are as alike as {number(compared.threshold, 2)}."
    )
    return table, listed


def _pairs(n: int) -> str:
    return "1 pair" if n == 1 else f"{n} pairs"
