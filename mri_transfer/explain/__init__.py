"""Where in the brain a score comes from: attribution maps, their checks, nearest patients."""

from __future__ import annotations

from mri_transfer.explain.explanation import Explanation, read_explanation, write_explanation
from mri_transfer.explain.spec import ExplanationSpec

__all__ = ["Explanation", "ExplanationSpec", "read_explanation", "write_explanation"]
