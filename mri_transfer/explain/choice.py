"""Which patients are looked at closely."""

from __future__ import annotations

import dataclasses
import itertools

import pandas as pd

__all__ = ["ClosePatient", "choose_patients"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClosePatient:
    """A patient who is looked at closely.

    Attributes
    ----------
    patient_id, label : str
    score : float
        Mean over repeats.
    why : str
        `right` or `wrong`: whether most repeats called the patient's label.
    """

    patient_id: str
    label: str
    score: float
    why: str


def choose_patients(scores: pd.DataFrame, *, n: int, positive: str) -> tuple[ClosePatient, ...]:
    """Choose patients by turns: of each label the surest classified correctly, then wrongly.

    Sure is who scores far from the threshold's middle, one half.

    Parameters
    ----------
    scores : DataFrame
        `predictions/patients.csv`.
    n : int
    positive : str

    Returns
    -------
    tuple of ClosePatient
        Fewer than `n` if there are no more patients.
    """
    table = scores.assign(right=scores["label"] == scores["predicted"])
    mean = table.groupby(["patient_id", "label"])[["score", "right"]].mean().reset_index()
    mean["sure"] = (mean["score"] - 0.5).abs()
    mean["why"] = ["right" if share >= 0.5 else "wrong" for share in mean["right"]]
    mean = mean.sort_values(["sure", "patient_id"], ascending=[False, True])
    labels = sorted(set(mean["label"]), key=lambda label: (label != positive, label))
    queues = [
        [row for row in mean.to_dict("records") if (row["label"], row["why"]) == (label, why)]
        for why, label in itertools.product(("right", "wrong"), labels)
    ]
    turns = itertools.zip_longest(*queues)
    chosen = [row for turn in turns for row in turn if row is not None][:n]
    return tuple(
        ClosePatient(
            patient_id=str(row["patient_id"]),
            label=str(row["label"]),
            score=float(row["score"]),
            why=str(row["why"]),
        )
        for row in chosen
    )
