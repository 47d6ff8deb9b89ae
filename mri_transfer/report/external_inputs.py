"""ExternalInputs: what the report of an external test shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

__all__ = ["ExternalInputs"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExternalInputs:
    """What the report of an external test shows beside what every report shows.

    Attributes
    ----------
    document : mapping
        `external.json`.
    overlapping : sequence of str
        Patients who were trained on.
    faults : mapping of str to sequence of str
        By patient, the checks of the input contract that are not met.
    left_out : DataFrame
        scan_id, patient_id, stage, reason.
    """

    document: Mapping[str, Any]
    overlapping: Sequence[str]
    faults: Mapping[str, Sequence[str]]
    left_out: pd.DataFrame

    @property
    def everybody(self) -> Mapping[str, Any]:
        """Figures of all patients who count."""
        found: Mapping[str, Any] = self.document["populations"]["all"]
        return found

    @property
    def admitted(self) -> Mapping[str, Any]:
        """Figures of those inside the input contract."""
        found: Mapping[str, Any] = self.document["populations"]["in_contract"]
        return found

    @property
    def confidence(self) -> str:
        """The confidence of intervals as words."""
        return f"{100 * self.document['confidence']:g}\u00a0%"
