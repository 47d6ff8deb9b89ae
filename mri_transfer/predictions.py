"""Predictions: slice scores, how they join into a patient's score, and the tables of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.errors import PredictionError
from mri_transfer.files import atomic_write_text
from mri_transfer.heads import SliceOutput
from mri_transfer.specs import STRICT

__all__ = [
    "Aggregation",
    "PatientScores",
    "PredictionSpec",
    "SliceScores",
    "join_slices",
    "resolve_aggregation",
]

FloatArray = npt.NDArray[np.float64]
Aggregation = Literal["mean_probability", "mean_logit", "majority", "attention"]

_AGGREGATION_OF: dict[str, Aggregation] = {
    "linear": "mean_logit",
    "published": "mean_probability",
    "attention": "attention",
}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredictionSpec:
    """How slices become a patient's score, and the score a decision."""

    aggregation: Literal["auto", "mean_probability", "mean_logit", "majority", "attention"] = "auto"
    """`auto`: the one the head was built for (linear: mean log-odds; published: mean probability;
    attention: the head's own weights)."""
    threshold: Literal["inner"] | float = Field(default="inner")
    """`inner`: Youden's index on inner predictions of training patients; or a fixed score."""


def resolve_aggregation(spec: PredictionSpec, head_kind: str) -> Aggregation:
    """Return the aggregation, with `auto` replaced by the head's own."""
    return _AGGREGATION_OF[head_kind] if spec.aggregation == "auto" else spec.aggregation


def join_slices(
    output: SliceOutput, patient_ids: Sequence[str], method: Aggregation
) -> dict[str, float]:
    """Join the slices of each patient into one score.

    Parameters
    ----------
    output : SliceOutput
        Log-odds and weights, shape (n_scans, n_slices).
    patient_ids : sequence of str, length n_scans
        Scans of one patient are joined, each scan counting the same.
    method : Aggregation
        `mean_probability`: mean of the slices' probabilities; `mean_logit`: probability of the
        mean log-odds; `majority`: share of slices above one half; `attention`: probability of the
        log-odds weighted as the head weighs its slices.

    Returns
    -------
    dict of str to float
        Score of the positive label, 0 to 1, per patient in order of appearance.
    """
    from scipy.special import expit

    logits = output.logits.astype(np.float64)
    if method == "mean_probability":
        scans = expit(logits).mean(axis=1)
    elif method == "majority":
        scans = (logits > 0).mean(axis=1)
    elif method == "mean_logit":
        scans = logits.mean(axis=1)
    else:
        scans = (logits * output.weights).sum(axis=1)
    owners = np.array(patient_ids, dtype=object)
    joined = {name: float(scans[owners == name].mean()) for name in dict.fromkeys(patient_ids)}
    if method in ("mean_logit", "attention"):
        return {name: float(expit(value)) for name, value in joined.items()}
    return joined


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Scores:
    """A table of scores with the checks that both levels share."""

    table: pd.DataFrame

    columns: ClassVar[tuple[str, ...]]
    key: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        if tuple(self.table.columns) != self.columns:
            raise PredictionError(
                "not a table of scores",
                found=", ".join(map(str, self.table.columns)),
                expected=", ".join(self.columns),
            )
        twice = self.table[self.table.duplicated(list(self.key))]
        if len(twice):
            first = ", ".join(f"{name} {twice.iloc[0][name]}" for name in self.key)
            raise PredictionError(
                f"{self.key[1].removesuffix('_id')} predicted twice in one repeat",
                found=f"{first}; {len(twice)} rows in all",
                remedy="Each patient is held out by one fold of a repeat; check folds.csv",
            )
        score = self.table["score"].to_numpy(dtype=float)
        if not np.all((score >= 0) & (score <= 1)):
            raise PredictionError("scores must lie between 0 and 1")

    def write(self, path: Path) -> None:
        """Write the table as CSV."""
        atomic_write_text(path, self.table.to_csv(index=False, lineterminator="\n"))


class PatientScores(_Scores):
    """One score a patient and repeat (`predictions/patients.csv`)."""

    columns = ("repeat", "fold", "patient_id", "label", "score", "predicted", "n_slices")
    key = ("repeat", "patient_id")

    @classmethod
    def read(cls, path: Path) -> PatientScores:
        """Read `patients.csv`."""
        return cls(table=_read(path, ("patient_id", "label", "predicted")))


class SliceScores(_Scores):
    """One score a slice and repeat (`predictions/slices.csv`)."""

    columns = ("repeat", "fold", "patient_id", "scan_id", "slice", "z_mm", "score")
    key = ("repeat", "scan_id", "slice")

    @classmethod
    def read(cls, path: Path) -> SliceScores:
        """Read `slices.csv`."""
        return cls(table=_read(path, ("patient_id", "scan_id")))


def _read(path: Path, text: Sequence[str]) -> pd.DataFrame:
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(text, str),
        keep_default_na=False,
    )
