"""Names of the ways to recalibrate scores."""

from __future__ import annotations

from typing import Literal

__all__ = ["RecalibrationMethod"]


RecalibrationMethod = Literal["none", "platt", "isotonic", "beta"]
