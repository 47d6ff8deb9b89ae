"""Audit: what is checked of a finished cross-validation, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mri_transfer.evaluation.audit.checks import Check
from mri_transfer.evaluation.audit.document import AuditDocument
from mri_transfer.evaluation.audit.duplicates import UNLIKE
from mri_transfer.evaluation.audit.identity import IdentityProbe
from mri_transfer.evaluation.audit.leakage import StressTest
from mri_transfer.evaluation.audit.similarity import SimilarityReport

__all__ = ["run_audit"]


def run_audit(
    *,
    stress: StressTest,
    identity: IdentityProbe,
    duplicates: Sequence[Mapping[str, Any]],
    similar: SimilarityReport,
    checks: Sequence[Mapping[str, Any]],
    shortcuts: Mapping[str, Any] | None,
    retest: Mapping[str, Any],
    robustness: Sequence[Mapping[str, Any]] | None,
    learning_curve: Mapping[str, Any] | None,
) -> AuditDocument:
    """Join the parts of the audit; a part that was not asked for is None.

    Parameters
    ----------
    stress : StressTest
    identity : IdentityProbe
    duplicates : sequence of mapping
        Pairs of scans that belong together, as `Duplicate.as_dict` gives them.
    similar : SimilarityReport
    checks : sequence of mapping
        Of provenance, blinding and preprocessing; that no person has two names, and no two
        people one, joins them.
    shortcuts, retest, robustness, learning_curve
        As their functions return them.
    """
    pairs = [dict(pair) for pair in duplicates]
    same_file = [[pair["scan_a"], pair["scan_b"]] for pair in pairs if pair["kind"] == "same file"]
    return AuditDocument.model_validate(
        {
            "leakage": {**stress.as_dict(), "identity": identity.as_dict()},
            "duplicates": {
                "identical_files": same_file,
                "pairs": pairs,
                "by_features": similar.as_dict(),
            },
            "checks": [*map(dict, checks), _one_name(pairs, similar), _one_person(pairs, similar)],
            "shortcuts": shortcuts,
            "retest": retest,
            "robustness": robustness,
            "learning_curve": learning_curve,
        }
    )


def _one_name(pairs: Sequence[Mapping[str, Any]], similar: SimilarityReport) -> dict[str, Any]:
    names = ("scan_a", "patient_a", "scan_b", "patient_b")
    across = [pair for pair in pairs if pair["across_patients"]]
    across += [pair for pair in similar.pairs if not pair["same_patient"]]
    return Check.of(
        "one_person_one_name",
        [{name: pair[name] for name in names} for pair in across],
        what="scans of different patients that are one file, one brain or as alike as repeats",
        expected="none",
        n_checked=similar.n_scans,
    ).as_dict()


def _one_person(pairs: Sequence[Mapping[str, Any]], similar: SimilarityReport) -> dict[str, Any]:
    names = ("patient_a", "scan_a", "scan_b", "similarity")
    return Check.of(
        "one_name_one_person",
        [{name: pair[name] for name in names} for pair in pairs if pair["kind"] == UNLIKE],
        what="scans under one patient id that do not look like one brain: two people, perhaps",
        expected="none",
        n_checked=similar.n_scans,
    ).as_dict()
