"""What the repeats came to for each patient."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "FIRST_PATIENT_PAGE",
    "PatientResult",
    "patient_results",
    "shown_results",
    "threshold_spans",
    "worst_first",
]

#: Of more patients than this the page shows a few, and a list of pages beside it all of them.
MAX_PATIENTS, FEW_PATIENTS = 500, 200
FIRST_PATIENT_PAGE = "patients/1.html"


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
    table = inputs.patient_scores.sort_values(["patient_id", "repeat"], kind="stable")
    names = table["patient_id"].to_numpy()
    labels, calls = (table[name].astype(str).to_numpy() for name in ("label", "predicted"))
    scores = table["score"].to_numpy(dtype=float)
    found = []
    ends = [i for i in range(1, len(names)) if names[i] != names[i - 1]] + [len(names)]
    for start, end in itertools.pairwise([0, *ends] if len(names) else []):
        label, own = labels[start], scores[start:end]
        counts = Counter(calls[start:end])
        most = max(counts.values())
        found.append(
            PatientResult(
                patient_id=str(names[start]),
                label=label,
                scores=table.iloc[start:end],
                score=float(own.mean()),
                low=float(own.min()),
                high=float(own.max()),
                called=min(
                    (name for name, n in counts.items() if n == most),
                    key=lambda name: (name == label, name),
                ),
                share_right=float((calls[start:end] == label).mean()),
            )
        )
    return found


def threshold_spans(inputs: ReportInputs, results: Sequence[PatientResult]) -> dict[str, str]:
    """Return from which score on each of some patients was called positive, where it is known.

    `0.52`, or `0.47 to 0.58` where the folds that held the patient out have different thresholds.
    """
    spans = {}
    for result in results:
        values = result.thresholds(inputs).values()
        if values:
            ends = dict.fromkeys(number(end, 2) for end in (min(values), max(values)))
            spans[result.patient_id] = " to ".join(ends)
    return spans


def shown_results(results: list[PatientResult]) -> list[PatientResult]:
    """Return the patients who get a panel, by id: all, or of a large cohort those called worst."""
    if len(results) <= MAX_PATIENTS:
        return results
    shown = {result.patient_id for result in worst_first(results)[:FEW_PATIENTS]}
    return [result for result in results if result.patient_id in shown]


def worst_first(results: list[PatientResult]) -> list[PatientResult]:
    """Return patients in the order in which they are shown first: those called worst."""
    return sorted(
        results,
        key=lambda patient: (patient.share_right, -abs(patient.score - 0.5), patient.patient_id),
    )
