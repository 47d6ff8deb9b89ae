"""Audit: what is checked of a finished cross-validation, and its file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.audit.leakage import StressTest
from mri_transfer.errors import EvaluationError
from mri_transfer.files import write_json
from mri_transfer.specs import STRICT

__all__ = ["Audit", "AuditSpec", "run_audit"]

_SCHEMA = "mri-transfer/audit/1"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AuditSpec:
    """How much is audited."""

    n_permutations: int = Field(default=20, ge=1)
    """Permutations of the patients' labels behind each permuted arm of the stress test."""
    bootstrap_samples: int = Field(default=2000, ge=100)
    """Resamples of patients behind each interval."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit:
    """What the audit found (`audit.json`)."""

    content: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write `audit.json`."""
        write_json(path, self.content)

    @classmethod
    def read(cls, path: Path) -> Audit:
        """Read `audit.json`.

        Raises
        ------
        EvaluationError
            If it is not one.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("schema") != _SCHEMA:
            raise EvaluationError(
                "not an audit", where=str(path), found=str(content.get("schema")), expected=_SCHEMA
            )
        return cls(content=content)


def run_audit(stress: StressTest, duplicates: list[dict[str, Any]]) -> Audit:
    """Join the parts of the audit.

    Parameters
    ----------
    stress : StressTest
    duplicates : list of dict
        Pairs of scans that belong together, as `Duplicate.as_dict` gives them.
    """
    same_file = [[pair["scan_a"], pair["scan_b"]] for pair in duplicates if _is_file(pair)]
    return Audit(
        content={
            "schema": _SCHEMA,
            "leakage": stress.as_dict(),
            "duplicates": {"identical_files": same_file, "pairs": duplicates},
            "shortcuts": {},
        }
    )


def _is_file(pair: dict[str, Any]) -> bool:
    return bool(pair["kind"] == "same file")
