"""Audit: what is checked of a finished cross-validation, and its file."""

from __future__ import annotations

from collections.abc import Sequence

from mri_transfer.evaluation.audit.checks import CheckResult, Fault
from mri_transfer.evaluation.audit.document import (
    AuditDocument,
    DuplicatePair,
    Duplicates,
    Identity,
    Leakage,
    Retest,
    RobustnessRow,
    Similarity,
    SimilarPair,
    StressTest,
)
from mri_transfer.evaluation.audit.duplicates import UNLIKE
from mri_transfer.evaluation.audit.learning_results import LearningCurve
from mri_transfer.evaluation.audit.shortcut_results import Shortcuts

__all__ = ["run_audit"]


def run_audit(
    *,
    stress: StressTest,
    identity: Identity,
    duplicates: Sequence[DuplicatePair],
    similar: Similarity,
    checks: Sequence[CheckResult],
    shortcuts: Shortcuts | None,
    retest: Retest,
    robustness: Sequence[RobustnessRow] | None,
    learning_curve: LearningCurve | None,
) -> AuditDocument:
    """Join the parts of the audit; a part that was not asked for is None.

    Parameters
    ----------
    stress : StressTest
    identity : Identity
    duplicates : sequence of DuplicatePair
    similar : Similarity
    checks : sequence of CheckResult
        Of provenance, blinding and preprocessing; that no person has two names, and no two
        people one, joins them.
    shortcuts, retest, robustness, learning_curve
        As their functions return them.
    """
    same_file = ((pair.scan_a, pair.scan_b) for pair in duplicates if pair.kind == "same file")
    return AuditDocument(
        leakage=Leakage(**dict(stress), identity=identity),
        duplicates=Duplicates(
            identical_files=tuple(same_file), pairs=tuple(duplicates), by_features=similar
        ),
        checks=(*checks, _one_name(duplicates, similar), _one_person(duplicates, similar)),
        shortcuts=shortcuts,
        retest=retest,
        robustness=None if robustness is None else tuple(robustness),
        learning_curve=learning_curve,
    )


def _one_name(duplicates: Sequence[DuplicatePair], similar: Similarity) -> CheckResult:
    across: list[DuplicatePair | SimilarPair] = [
        *(pair for pair in duplicates if pair.across_patients),
        *(pair for pair in similar.pairs if not pair.same_patient),
    ]
    return CheckResult.of(
        "one_person_one_name",
        [_named(pair, "scan_a", "patient_a", "scan_b", "patient_b") for pair in across],
        what="No two patients share a file, a brain, or scans as similar as repeats",
        expected="none",
        n_checked=similar.n_scans,
    )


def _one_person(duplicates: Sequence[DuplicatePair], similar: Similarity) -> CheckResult:
    unlike = [pair for pair in duplicates if pair.kind == UNLIKE]
    return CheckResult.of(
        "one_name_one_person",
        [_named(pair, "patient_a", "scan_a", "scan_b", "similarity") for pair in unlike],
        what="All scans under one patient identifier look like one brain",
        expected="none",
        n_checked=similar.n_scans,
    )


def _named(pair: DuplicatePair | SimilarPair, *names: str) -> Fault:
    return {name: getattr(pair, name) for name in names}
