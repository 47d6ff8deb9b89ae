"""Audit: whether the evaluation leaks, scans are duplicated, the model takes shortcuts."""

from __future__ import annotations

from mri_transfer.audit.audit import Audit, AuditSpec, run_audit
from mri_transfer.audit.duplicates import (
    Duplicate,
    DuplicateSpec,
    ScanIdentity,
    find_duplicates,
)
from mri_transfer.audit.leakage import StressTest, stress_test

__all__ = [
    "Audit",
    "AuditSpec",
    "Duplicate",
    "DuplicateSpec",
    "ScanIdentity",
    "StressTest",
    "find_duplicates",
    "run_audit",
    "stress_test",
]
