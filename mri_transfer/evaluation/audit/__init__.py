"""Audit: whether the evaluation leaks, scans are duplicated, the model takes shortcuts."""

from __future__ import annotations

from mri_transfer.evaluation.audit.audit import AuditSpec, run_audit
from mri_transfer.evaluation.audit.blinding import blind_activations, blinded_refit
from mri_transfer.evaluation.audit.document import AuditDocument
from mri_transfer.evaluation.audit.duplicates import (
    UNLIKE,
    Duplicate,
    DuplicateSpec,
    ScanIdentity,
    find_duplicates,
)
from mri_transfer.evaluation.audit.identity import IdentitySpec, identity_probe
from mri_transfer.evaluation.audit.leakage import StressTest, stress_test
from mri_transfer.evaluation.audit.learning_curve import LearningCurveSpec, learning_curve
from mri_transfer.evaluation.audit.preprocessing import check_preprocessing
from mri_transfer.evaluation.audit.provenance import check_provenance
from mri_transfer.evaluation.audit.retest import retest, scan_scores
from mri_transfer.evaluation.audit.robustness import robustness_rows, sample_patients
from mri_transfer.evaluation.audit.shortcuts import find_shortcuts
from mri_transfer.evaluation.audit.similarity import SimilaritySpec, compare_scans, similar_scans

__all__ = [
    "UNLIKE",
    "IdentitySpec",
    "LearningCurveSpec",
    "SimilaritySpec",
    "blind_activations",
    "blinded_refit",
    "check_preprocessing",
    "check_provenance",
    "compare_scans",
    "find_shortcuts",
    "identity_probe",
    "learning_curve",
    "retest",
    "robustness_rows",
    "sample_patients",
    "scan_scores",
    "similar_scans",
    "AuditDocument",
    "AuditSpec",
    "Duplicate",
    "DuplicateSpec",
    "ScanIdentity",
    "StressTest",
    "find_duplicates",
    "run_audit",
    "stress_test",
]
