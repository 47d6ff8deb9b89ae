"""Predictions: slice scores, how they join into a patient's score, and the tables of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.errors import PredictionError

__all__ = [
    "ClassScores",
    "InnerScores",
    "PatientScores",
    "SliceScores",
]

FloatArray = npt.NDArray[np.float64]


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
            unit = next(name for name in self.key if name.endswith("_id")).removesuffix("_id")
            raise PredictionError(
                f"{unit} predicted twice in one repeat",
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Probabilities of three or more classes (`predictions/classes.csv`).

    Attributes
    ----------
    table : DataFrame
        A row a patient, repeat and class: repeat, fold, patient_id, label, class, score,
        predicted. The scores of a patient and repeat add up to 1; `predicted` is the class of
        the largest.
    """

    table: pd.DataFrame

    columns: ClassVar[tuple[str, ...]] = (
        "repeat",
        "fold",
        "patient_id",
        "label",
        "class",
        "score",
        "predicted",
    )

    @classmethod
    def join(
        cls, against_rest: Mapping[str, PatientScores], *, labels: Mapping[str, str]
    ) -> ClassScores:
        """Join the scores of each class against the rest; their sum is brought to 1.

        Parameters
        ----------
        against_rest : mapping of str to PatientScores
            By class, of the same patients, folds and repeats.
        labels : mapping of str to str
            The class of each patient.
        """
        keys = ["repeat", "fold", "patient_id"]
        wide = pd.concat(
            {name: one.table.set_index(keys)["score"] for name, one in against_rest.items()},
            axis=1,
        )
        if wide.isna().to_numpy().any():
            raise PredictionError("the classes were not predicted for the same patients and folds")
        total = wide.sum(axis=1)
        # Nobody's class being likely at all says nothing: then all are as likely.
        shares = wide.div(total.where(total > 0), axis=0).fillna(1 / len(against_rest))
        rows = shares.melt(var_name="class", value_name="score", ignore_index=False).reset_index()
        predicted = shares.idxmax(axis=1).rename("predicted").reset_index()
        rows = rows.merge(predicted, on=keys)
        rows["label"] = rows["patient_id"].map(dict(labels))
        order = [*keys, "class"]
        return cls(table=rows[list(cls.columns)].sort_values(order, ignore_index=True))

    def probabilities(self, classes: Sequence[str]) -> tuple[list[str], FloatArray]:
        """Return the patients' labels, and probabilities (n_repeats, n_patients, n_classes)."""
        wide = self.table.pivot(index=["repeat", "patient_id"], columns="class", values="score")
        patients = sorted(set(self.table["patient_id"]))
        label = self.table.drop_duplicates("patient_id").set_index("patient_id")["label"]
        values = wide[list(classes)].sort_index().to_numpy(dtype=np.float64)
        return label.loc[patients].tolist(), values.reshape(-1, len(patients), len(classes))

    def write(self, path: Path) -> None:
        """Write the table as CSV."""
        atomic_write_text(path, self.table.to_csv(index=False, lineterminator="\n"))

    @classmethod
    def read(cls, path: Path) -> ClassScores:
        """Read `classes.csv`."""
        return cls(table=_read(path, ("patient_id", "label", "class", "predicted")))


class InnerScores(_Scores):
    """One score a training patient of each outer fold, by a head that had not seen that patient.

    `predictions/inner.csv`: what procedure, recalibration and thresholds were chosen on, and what
    the image says of training patients where it is joined with covariates. Empty where nothing
    was chosen.
    """

    columns = ("repeat", "fold", "inner_fold", "patient_id", "score")
    key = ("repeat", "fold", "patient_id")

    @classmethod
    def read(cls, path: Path) -> InnerScores:
        """Read `inner.csv`."""
        return cls(table=_read(path, ("patient_id",)))


def _read(path: Path, text: Sequence[str]) -> pd.DataFrame:
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(text, str),
        keep_default_na=False,
    )
