"""Folds: which patients are held out together.

The patient is the unit. `Folds` stores one fold number per patient and repeat, so a patient in
two folds of a repeat cannot be written down; every scan and slice follows its patient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.errors import FoldError
from mri_transfer.training.settings import FoldSpec

__all__ = [
    "Folds",
    "OuterFold",
    "demand_enough",
    "derive_seed",
    "inner_folds",
    "make_folds",
]

IntArray = npt.NDArray[np.int64]

_COLUMNS = ["repeat", "patient_id", "fold", "label"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OuterFold:
    """One training and one test set of patients (positions in `Folds.patient_ids`)."""

    repeat: int
    fold: int
    train: IntArray
    test: IntArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folds:
    """Repeated folds of a cohort.

    Attributes
    ----------
    patient_ids : tuple of str
        Every patient once, sorted.
    labels : tuple of str
        Their labels.
    assignment : ndarray of int64, shape (n_repeats, n_patients)
        The fold that holds a patient out, per repeat.
    """

    patient_ids: tuple[str, ...]
    labels: tuple[str, ...]
    assignment: IntArray

    def __post_init__(self) -> None:
        if list(self.patient_ids) != sorted(set(self.patient_ids)):
            raise FoldError("patients must be sorted and appear once")
        if self.assignment.ndim != 2 or self.assignment.shape[1] != len(self.patient_ids):
            raise FoldError(
                "one fold per patient and repeat is needed",
                found=f"shape {self.assignment.shape}",
                expected=f"(n_repeats, {len(self.patient_ids)})",
            )
        if len(self.labels) != len(self.patient_ids):
            raise FoldError("one label per patient is needed", found=str(len(self.labels)))

    def __iter__(self) -> Iterator[OuterFold]:
        for repeat, row in enumerate(self.assignment):
            for fold in np.unique(row):
                yield OuterFold(
                    repeat=repeat,
                    fold=int(fold),
                    train=np.flatnonzero(row != fold),
                    test=np.flatnonzero(row == fold),
                )

    def against(self, positive: str, others: str) -> Folds:
        """Return the same folds with two labels: one, and a name for all others."""
        labels = tuple(label if label == positive else others for label in self.labels)
        return dataclasses.replace(self, labels=labels)

    def table(self) -> pd.DataFrame:
        """Return the rows repeat, patient_id, fold, label."""
        return pd.DataFrame(
            [
                (repeat, patient, int(fold), label)
                for repeat, row in enumerate(self.assignment)
                for patient, fold, label in zip(self.patient_ids, row, self.labels, strict=True)
            ],
            columns=_COLUMNS,
        )

    def write(self, path: Path) -> None:
        """Write `folds.csv`."""
        atomic_write_text(path, self.table().to_csv(index=False, lineterminator="\n"))

    @classmethod
    def read(cls, path: Path) -> Folds:
        """Read `folds.csv`.

        Raises
        ------
        FoldError
            If a patient is in two folds of a repeat, missing from one, or has two labels.
        """
        table = pd.read_csv(path, dtype={"patient_id": str, "label": str}, keep_default_na=False)
        if list(table.columns) != _COLUMNS:
            raise FoldError(
                "not a table of folds",
                where=str(path),
                found=", ".join(table.columns),
                expected=", ".join(_COLUMNS),
            )
        twice = table[table.duplicated(["repeat", "patient_id"])]
        if len(twice):
            raise FoldError(
                "a patient is in two folds of one repeat",
                where=str(path),
                found=", ".join(sorted(set(twice["patient_id"]))),
            )
        wide = table.pivot(index="patient_id", columns="repeat", values="fold").sort_index()
        labels = table.groupby("patient_id")["label"].agg(lambda values: sorted(set(values)))
        if wide.isna().to_numpy().any() or any(len(values) != 1 for values in labels):
            raise FoldError("a patient misses a repeat or has two labels", where=str(path))
        return cls(
            patient_ids=tuple(wide.index),
            labels=tuple(values[0] for values in labels.loc[wide.index]),
            assignment=wide.to_numpy(dtype=np.int64).T.copy(),
        )


def derive_seed(seed: int, *place: int) -> int:
    """Return a seed of its own for a place (repeat, fold, ...) under the run's seed."""
    state = np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def make_folds(
    patient_ids: Sequence[str], labels: Sequence[str], *, spec: FoldSpec, seed: int
) -> Folds:
    """Draw repeated stratified folds of patients.

    Patients are sorted first, so the order of a manifest's rows is without effect.

    Parameters
    ----------
    patient_ids, labels : sequence of str
        One entry a patient.
    spec : FoldSpec
    seed : int

    Raises
    ------
    FoldError
        If a patient appears twice, there are fewer than two labels, or a label has fewer patients
        than folds.
    """
    from sklearn.model_selection import RepeatedStratifiedKFold

    if len(set(patient_ids)) != len(patient_ids):
        raise FoldError("a patient appears twice in the patient table")
    order = sorted(range(len(patient_ids)), key=lambda i: patient_ids[i])
    names = tuple(patient_ids[i] for i in order)
    classes = tuple(labels[i] for i in order)
    demand_enough(classes, spec)
    splitter = RepeatedStratifiedKFold(
        n_splits=spec.n_folds, n_repeats=spec.n_repeats, random_state=seed
    )
    assignment = np.empty((spec.n_repeats, len(names)), dtype=np.int64)
    for i, (_, test) in enumerate(splitter.split(np.zeros(len(names)), classes)):
        assignment[i // spec.n_folds, test] = i % spec.n_folds
    return Folds(patient_ids=names, labels=classes, assignment=assignment)


def inner_folds(labels: npt.NDArray[np.int64], *, n_folds: int, seed: int) -> IntArray:
    """Split training patients for choices made inside them.

    Parameters
    ----------
    labels : ndarray of int, shape (n_train,)
    n_folds : int
        Lowered to the size of the smaller class if that is smaller.
    seed : int

    Returns
    -------
    ndarray of int64, shape (n_train,)
        The inner fold of each training patient.

    Raises
    ------
    FoldError
        If a class has fewer than two training patients.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < 2:
        raise FoldError(
            "too few training patients to choose anything inside them",
            found=", ".join(map(str, counts)),
            expected="two or more of each label",
            remedy="Use fewer folds or a larger cohort",
        )
    splitter = StratifiedKFold(
        n_splits=min(n_folds, int(counts.min())), shuffle=True, random_state=seed
    )
    folds = np.empty(len(labels), dtype=np.int64)
    for fold, (_, test) in enumerate(splitter.split(np.zeros(len(labels)), labels)):
        folds[test] = fold
    return folds


def demand_enough(labels: Sequence[str], spec: FoldSpec, *, inner: bool = False) -> None:
    """Refuse patients who cannot be split.

    Parameters
    ----------
    labels : sequence of str
        One a patient.
    spec : FoldSpec
    inner : bool
        Whether the training patients of a fold have to be split again.

    Raises
    ------
    FoldError
        If there are fewer than two labels, a label has fewer patients than folds or, with
        `inner`, a fold would leave fewer than two training patients of a label.
    """
    n_folds = spec.n_folds
    values, counts = np.unique(np.array(labels, dtype=object), return_counts=True)
    if len(values) < 2:
        raise FoldError(
            "cross-validation needs patients of two labels",
            found=", ".join(map(str, values)) or "none",
        )
    small = [
        f"{value}: {count}" for value, count in zip(values, counts, strict=True) if count < n_folds
    ]
    if small:
        raise FoldError(
            "a label has fewer patients than folds",
            found="; ".join(small),
            expected=f"{n_folds} or more patients of each label",
            remedy="Lower folds.n_folds or add patients",
        )
    # Folds are stratified: the largest holds out one patient of a label more than the smallest.
    left = {
        value: count - -(-count // n_folds) for value, count in zip(values, counts, strict=True)
    }
    few = [f"{value}: {count}" for value, count in left.items() if count < 2]
    if inner and few:
        raise FoldError(
            "too few training patients to choose anything inside them",
            found="; ".join(few) + " in a fold",
            expected="two or more of each label",
            remedy="Use fewer folds or a larger cohort",
        )
