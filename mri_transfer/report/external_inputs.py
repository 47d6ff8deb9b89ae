"""ExternalInputs: what the report of an external test shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd

from mri_transfer.evaluation.external.document import ExternalDocument, Population

__all__ = ["ExternalInputs"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExternalInputs:
    """What the report of an external test shows beside what every report shows.

    Attributes
    ----------
    document : ExternalDocument
    overlapping : sequence of str
        Patients who were trained on.
    faults : mapping of str to sequence of str
        By patient, the checks of the input contract that are not met.
    left_out : DataFrame
        scan_id, patient_id, stage, reason.
    """

    document: ExternalDocument
    overlapping: Sequence[str]
    faults: Mapping[str, Sequence[str]]
    left_out: pd.DataFrame

    @property
    def everybody(self) -> Population:
        """Figures of all patients who count."""
        return self.document.populations.all

    @property
    def admitted(self) -> Population:
        """Figures of those inside the input contract."""
        return self.document.populations.in_contract

    @property
    def confidence(self) -> str:
        """The confidence of intervals as words."""
        return f"{100 * self.document.confidence:g}\u00a0%"
