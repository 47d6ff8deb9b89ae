"""Settings of the audit."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT

__all__ = ["AuditSpec", "DuplicateSpec"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AuditSpec:
    """How much is audited."""

    n_permutations: int = Field(default=100, ge=1)
    """Permutations of the patients' labels behind each permuted arm of the stress test."""
    bootstrap_samples: int = Field(default=2000, ge=100)
    """Resamples of patients behind each interval."""
    blinded_folds: int = Field(default=3, ge=1)
    """Outer folds fitted again, blind to their test patients."""
    recomputed_patients: int = Field(default=2, ge=0)
    """Patients whose features are computed again, alone and without their label."""
    shortcut_permutations: int = Field(default=100, ge=0)
    """Permutations behind each probe for age, sex, site and scanner; 0 leaves the probes out."""
    robustness_patients: int = Field(default=0, ge=0)
    """Patients whose scans are perturbed and pass through the trunk again; 0: nobody's."""
    learning_curve: bool = False
    """Whether heads are fitted on growing numbers of training patients."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DuplicateSpec:
    """From which similarity on two scans show one brain, and below which they do not.

    Measured: different people reach .34 (24 whole brains of OASIS-1 and IXI, 274 pairs) and .51
    (140 slabs of 32 mm, 9730 pairs). One person reaches .98 and .99 in two sessions on one
    scanner, .84 as a slab and as a whole head, and at least .86 among copies with other position,
    contrast, shading and noise. Years or scanners apart were not measured.
    """

    same_brain: float = Field(default=0.6, gt=0, lt=1)
    """Scans at least this similar show one brain."""
    other_brain: float = Field(default=0.45, gt=0, lt=1)
    """Scans of one patient that are less similar than this do not look like one brain."""
    min_shared_ml: float = Field(default=200.0, gt=0)
    """Brain that both scans must show, in millilitres, to be compared; a whole one has 1900."""
