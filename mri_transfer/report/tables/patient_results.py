"""What the repeats came to for each patient."""

from __future__ import annotations

import dataclasses

import pandas as pd

from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs

__all__ = ["PatientResult", "patient_results", "threshold_spans"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatientResult:
    """What the repeats came to for one patient.

    Attributes
    ----------
    patient_id, label : str
    scores : DataFrame
        The patient's rows of the scores, by repeat.
    score, low, high : float
        Mean, lowest and highest score over repeats.
    called : str
        The label called in most repeats; of equally many the one that is not the patient's own, so
        that a tie never looks like a right call.
    share_right : float
        Share of the repeats that called the patient's label.
    """

    patient_id: str
    label: str
    scores: pd.DataFrame
    score: float
    low: float
    high: float
    called: str
    share_right: float

    @property
    def n_wrong(self) -> int:
        """Repeats that called the other label."""
        return int((self.scores["predicted"].astype(str) != self.label).sum())

    def thresholds(self, inputs: ReportInputs) -> dict[int, float]:
        """Return the threshold of the fold that held the patient out, by repeat."""
        if "fold" not in self.scores:
            return {}
        places = zip(
            self.scores["repeat"].astype(int), self.scores["fold"].astype(int), strict=True
        )
        known = inputs.thresholds
        return {place[0]: known[place] for place in places if place in known}


def patient_results(inputs: ReportInputs) -> list[PatientResult]:
    """Return every scored patient, by id."""
    found = []
    for patient_id, rows in inputs.patient_scores.groupby("patient_id", sort=True):
        rows = rows.sort_values("repeat")
        label = str(rows["label"].iloc[0])
        calls = rows["predicted"].astype(str)
        counts = calls.value_counts()
        most = sorted(counts.index[counts == counts.max()], key=lambda name: (name == label, name))
        found.append(
            PatientResult(
                patient_id=str(patient_id),
                label=label,
                scores=rows,
                score=float(rows["score"].mean()),
                low=float(rows["score"].min()),
                high=float(rows["score"].max()),
                called=str(most[0]),
                share_right=float((calls == label).mean()),
            )
        )
    return found


def threshold_spans(inputs: ReportInputs) -> dict[str, str]:
    """Return from which score on each patient was called positive, where that is known.

    `0.52`, or `0.47 to 0.58` where the folds that held the patient out have different thresholds.
    """
    spans = {}
    for result in patient_results(inputs):
        values = result.thresholds(inputs).values()
        if values:
            ends = dict.fromkeys(number(end, 2) for end in (min(values), max(values)))
            spans[result.patient_id] = " to ".join(ends)
    return spans
