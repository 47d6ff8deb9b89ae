"""Which patients are chosen for pixel attribution."""

from __future__ import annotations

import dataclasses
import itertools

import pandas as pd

__all__ = ["ChosenPatient", "choose_patients"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChosenPatient:
    """A patient chosen for pixel attribution.

    Attributes
    ----------
    patient_id, label : str
    score : float
        Mean over repeats.
    outcome : str
        `correct` or `incorrect`: whether most repeats called the patient's label.
    """

    patient_id: str
    label: str
    score: float
    outcome: str


def choose_patients(scores: pd.DataFrame, *, n: int, positive: str) -> tuple[ChosenPatient, ...]:
    """Choose patients by turns: of each label the most certain, correctly called, then incorrectly.

    A score is certain if it is far from one half.

    Parameters
    ----------
    scores : DataFrame
        `predictions/patients.csv`.
    n : int
    positive : str

    Returns
    -------
    tuple of ChosenPatient
        Fewer than `n` if there are no more patients.
    """
    table = scores.assign(correct=scores["label"] == scores["predicted"])
    mean = table.groupby(["patient_id", "label"])[["score", "correct"]].mean().reset_index()
    mean["certainty"] = (mean["score"] - 0.5).abs()
    mean["outcome"] = ["correct" if share >= 0.5 else "incorrect" for share in mean["correct"]]
    mean = mean.sort_values(["certainty", "patient_id"], ascending=[False, True])
    labels = sorted(set(mean["label"]), key=lambda label: (label != positive, label))
    queues = [
        [
            row
            for row in mean.to_dict("records")
            if (row["label"], row["outcome"]) == (label, outcome)
        ]
        for outcome, label in itertools.product(("correct", "incorrect"), labels)
    ]
    turns = itertools.zip_longest(*queues)
    chosen = [row for turn in turns for row in turn if row is not None][:n]
    return tuple(
        ChosenPatient(
            patient_id=str(row["patient_id"]),
            label=str(row["label"]),
            score=float(row["score"]),
            outcome=str(row["outcome"]),
        )
        for row in chosen
    )
