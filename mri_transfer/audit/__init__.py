"""Audit: whether the evaluation leaks, scans are duplicated, the model takes shortcuts."""

from __future__ import annotations

from mri_transfer.audit.audit import Audit, AuditSpec, run_audit
from mri_transfer.audit.duplicates import identical_files
from mri_transfer.audit.leakage import StressTest, stress_test

__all__ = ["Audit", "AuditSpec", "StressTest", "identical_files", "run_audit", "stress_test"]
