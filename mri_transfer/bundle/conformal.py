"""ConformalSets: which labels cannot be ruled out for a patient, at a stated coverage.

Cross-conformal prediction, label by label (Vovk 2015, Ann Math Artif Intell 74:9-28; Mondrian:
Vovk, Gammerman and Shafer 2005, section 4.5). For each label one asks: if the patient had it, how
many calibration patients of that label would look as strange as this one? Every calibration
patient was scored by the head of a fold that had not seen that patient, and the new patient is
compared by the same head's score. A label stays in the set if that share is above 1 - coverage.

With several folds the sets are sure to hold the true label with a probability of 1 - 2a, less a
term that vanishes with many patients, for 1 - a asked for (Barber et al. 2021, Ann Stat 49:486-507,
for CV+; in practice the coverage is close to 1 - a). With one head and patients it has not seen
(split conformal), 1 - a is guaranteed. Both only for patients like the calibration patients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.files import read_json_object, write_json
from mri_transfer.core.specs import STRICT
from mri_transfer.core.tensorfile import described_files, read_tensors, write_tensors
from mri_transfer.errors import StoreError
from mri_transfer.metrics.intervals import exact_proportion
from mri_transfer.training.fitted_model import FittedModel

__all__ = [
    "ConformalSets",
    "ConformalSpec",
    "calibrate",
    "label_p_values",
    "measure_coverage",
]

_SCHEMA = "mri-transfer/conformal/1"

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConformalSpec:
    """How often a set of labels must hold the true one."""

    coverage: float = Field(default=0.9, gt=0.5, lt=1)
    """Of the set, for patients of either label."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ConformalSets:
    """Calibration of prediction sets.

    Attributes
    ----------
    heads : tuple of FittedModel
        One a fold.
    scores : ndarray of float64, shape (n_calibration,)
        Of patients, by the head of the fold that held them out.
    fold : ndarray of int64, shape (n_calibration,)
        Position of that head.
    positive : ndarray of int64, shape (n_calibration,)
        1 for the positive label.
    facts : mapping
        JSON values: coverage, and `measured`, the coverage found by cross-validation, or None.
    """

    heads: tuple[FittedModel, ...]
    scores: FloatArray
    fold: IntArray
    positive: IntArray
    facts: Mapping[str, Any]

    @property
    def coverage(self) -> float:
        """Of the sets, for patients of either label."""
        return float(self.facts["coverage"])

    def p_values(self, scores: FloatArray) -> FloatArray:
        """Return the p value of a negative and of a positive label for new patients.

        Parameters
        ----------
        scores : ndarray, shape (n_heads, n_patients)
            By each head, recalibrated as that head does.

        Returns
        -------
        ndarray of float64, shape (n_patients, 2)
            The negative label's p value, then the positive one's.
        """
        return label_p_values(self.scores, self.positive.astype(np.bool_), scores[self.fold])

    def place(self, scores: FloatArray, *, positive: bool) -> FloatArray:
        """Return the share of calibration patients of a label that score below new patients.

        Parameters
        ----------
        scores : ndarray, shape (n_heads, n_patients)
        positive : bool
            The label.
        """
        own = self.positive == int(positive)
        below = self.scores[own][:, None] < scores[self.fold[own]]
        return np.asarray(below.mean(axis=0), dtype=np.float64)

    def write(self, folder: Path) -> None:
        """Write conformal.json, conformal.safetensors, and the heads beside the bundle's."""
        arrays, description = described_files(folder / "conformal")
        tensors = {"scores": self.scores, "fold": self.fold, "positive": self.positive}
        write_tensors(arrays, tensors, schema=_SCHEMA)
        write_json(description, {"schema": _SCHEMA, "n_heads": len(self.heads), **self.facts})
        for number, head in enumerate(self.heads):
            head.write(_stem(folder, number))

    @classmethod
    def read(cls, folder: Path, *, covariates: pd.DataFrame | None = None) -> ConformalSets | None:
        """Read what `write` wrote; None if there is nothing; StoreError if a file is damaged."""
        arrays, description = described_files(folder / "conformal")
        if not description.exists():
            return None
        facts = read_json_object(description) or {}
        if facts.pop("schema", None) != _SCHEMA:
            raise StoreError("not conformal sets this version reads", where=description.name)
        heads = tuple(
            FittedModel.read(_stem(folder, number), repeat=0, fold=number, covariates=covariates)
            for number in range(int(facts.pop("n_heads")))
        )
        return cls(heads=heads, facts=facts, **read_tensors(arrays, schema=_SCHEMA))


def _stem(folder: Path, number: int) -> Path:
    return folder / "heads" / f"conformal_{number:03d}"


def calibrate(
    trained: Sequence[FittedModel],
    scores: pd.DataFrame,
    *,
    positive: str,
    inner: pd.DataFrame | None = None,
    spec: ConformalSpec | None = None,
) -> ConformalSets:
    """Calibrate prediction sets on the held-out scores of a cross-validation.

    Parameters
    ----------
    trained : sequence of FittedModel
        Of one repeat or more; the first repeat's are used.
    scores : DataFrame
        `repeat, fold, patient_id, label, score`, as `PatientScores` has it.
    positive : str
    inner : DataFrame, optional
        `repeat, fold, patient_id, score` of training patients by heads of inner folds, as
        `InnerScores` has it: the coverage is measured with it.
    spec : ConformalSpec, optional
    """
    spec = spec or ConformalSpec()
    first = min(one.repeat for one in trained)
    heads = sorted((one for one in trained if one.repeat == first), key=lambda one: one.fold)
    own = scores[scores["repeat"] == first]
    # Sorted by score: the order of patients could identify them.
    own = own.sort_values(["fold", "label", "score"], kind="stable")
    number = {one.fold: position for position, one in enumerate(heads)}
    measured = None
    if inner is not None and len(inner):
        measured = measure_coverage(scores, inner, positive=positive, spec=spec)
    return ConformalSets(
        heads=tuple(one.with_record(one.record.essential) for one in heads),
        scores=own["score"].to_numpy(dtype=np.float64),
        fold=np.array([number[fold] for fold in own["fold"]], dtype=np.int64),
        positive=(own["label"] == positive).to_numpy().astype(np.int64),
        facts={"coverage": spec.coverage, "n_calibration": len(own), "measured": measured},
    )


def label_p_values(calibration: FloatArray, positive: BoolArray, new: FloatArray) -> FloatArray:
    """Return label-conditional conformal p values.

    Parameters
    ----------
    calibration : ndarray, shape (n,)
        Score of each calibration patient, 0 to 1.
    positive : ndarray of bool, shape (n,)
    new : ndarray, shape (n, m)
        The new patients' scores, by the head that each calibration patient was scored by.

    Returns
    -------
    ndarray of float64, shape (m, 2)
        Of the negative and of the positive label: the share of calibration patients of that
        label, the new one counted in, whose score speaks as much against it or more.
    """
    against_negative = calibration[~positive][:, None] >= new[~positive]
    against_positive = calibration[positive][:, None] <= new[positive]
    columns = [
        (stranger.sum(axis=0) + 1) / (len(stranger) + 1)
        for stranger in (against_negative, against_positive)
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def measure_coverage(
    scores: pd.DataFrame, inner: pd.DataFrame, *, positive: str, spec: ConformalSpec
) -> dict[str, Any]:
    """Measure the coverage by cross-validation, on patients that were used for nothing else.

    In each outer fold the training patients calibrate, by their scores from inner folds, and the
    test patients, scored by the fold's head, get a set. That is the procedure on fewer patients,
    with one head for all comparisons.

    Parameters
    ----------
    scores, inner : DataFrame
        As in `calibrate`.
    positive : str
    spec : ConformalSpec

    Returns
    -------
    dict
        By label, and of all: how many sets hold the true label, with an exact interval; and the
        share of each kind of set. Counts are means over repeats.
    """
    label_of = dict(zip(scores["patient_id"], scores["label"] == positive, strict=True))
    parts = []
    training = dict(list(inner.groupby(["repeat", "fold"])))
    for place, test in scores.groupby(["repeat", "fold"]):
        known = training[place]
        new = test["score"].to_numpy(dtype=np.float64)
        p = label_p_values(
            known["score"].to_numpy(dtype=np.float64),
            known["patient_id"].map(label_of).to_numpy(dtype=np.bool_),
            np.tile(new, (len(known), 1)),
        )
        kept = p > 1 - spec.coverage
        truth = (test["label"] == positive).to_numpy().astype(int)
        parts.append(
            pd.DataFrame(
                {
                    "positive": truth,
                    "covered": kept[np.arange(len(kept)), truth],
                    "size": kept.sum(axis=1),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    n_repeats = scores["repeat"].nunique()
    groups = {
        "all": table,
        "positive": table[table["positive"] == 1],
        "negative": table[table["positive"] == 0],
    }
    single = table["size"] == 1
    right = (table["covered"] & single).sum() / max(single.sum(), 1)
    return {
        "method": f"nested cross-validation, {n_repeats} repeats; exact interval, counts averaged "
        "over repeats",
        "coverage": {name: _covered(rows, n_repeats) for name, rows in groups.items()},
        "sizes": {
            words: _rounded((table["size"] == size).mean())
            for size, words in ((0, "none"), (1, "one"), (2, "both"))
        },
        "one_and_right": _rounded(right),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _covered(rows: pd.DataFrame, n_repeats: int) -> dict[str, Any]:
    found = exact_proportion(rows["covered"].sum() / n_repeats, len(rows) / n_repeats)
    entry = {"value": found.value, "ci_low": found.ci_low, "ci_high": found.ci_high, "n": found.n}
    return {name: None if value is None else float(value) for name, value in entry.items()}
