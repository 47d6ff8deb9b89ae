"""How the report shows brain slices, and how it is printed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.report.figures import Orientation

__all__ = ["Paper", "PrintSpec"]


Paper = Literal["a4", "us-letter"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrintSpec:
    """How the report shows brain slices, and how it is printed."""

    orientation: Orientation = "neurological"
    """Which side of the patient is on the left of every brain slice in the report: `neurological`,
    the left; `radiological`, the right, as clinicians are used to. Letters on each slice say it.
    Quality pages and viewers keep the left on the left, with letters too."""
    volumes: int = Field(default=200, ge=0)
    """Patients whose scans get a page with three planes at full resolution, in
    `report/volumes/`; those classified incorrectly come first. A scan takes up to 1 MB."""
    paper: Paper = "a4"
    """Size of the pages of `report.pdf` and `summary.pdf`: a4 or us-letter."""
