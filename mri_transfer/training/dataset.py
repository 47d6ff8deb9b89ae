"""Features of labelled patients: of a cohort, and of the patients that one fit may see.

A fit is handed a `TrainingView`: the features, labels and covariates of its training patients,
in arrays of its own. There is no table of everybody beside a mask that says whom to look at, so a
fit that looks at a test patient cannot be written down (docs/decisions/0010).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.tensorfile import read_tensors, write_tensors
from mri_transfer.errors import HeadError, StoreError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureTable
from mri_transfer.training.folds import Folds
from mri_transfer.training.instances import Instances

__all__ = ["LabelledFeatures", "TrainingView", "read_features", "write_features"]

#: Of a bundle; only where its maker asked for it.
FEATURES_FILE = "features.safetensors"

_SCHEMA = "mri-transfer/bundle-features/1"

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledFeatures:
    """Labelled patients and their features.

    Attributes
    ----------
    tables : mapping of str to FeatureTable
        By pooling, all of the same scans in the same order.
    labels : mapping of str to str
        The label of every patient in the tables, two different ones in all.
    positive : str
        The label whose probability is asked for.
    covariates : DataFrame, optional
        Indexed by patient_id: the site, and what harmonisation keeps, of every patient.
    activations : ActivationTable, optional
        What lies at the cut, in the order of the tables, where tails are trained.
    instances : Instances, optional
        Patients of another cohort that heads are fitted to as well; none of those above.
    """

    tables: Mapping[str, FeatureTable]
    labels: Mapping[str, str]
    positive: str
    covariates: pd.DataFrame | None = None
    activations: ActivationTable | None = None
    instances: Instances | None = None

    def __post_init__(self) -> None:
        owners = set(self.scans.patient_ids)
        if owners != set(self.labels):
            raise HeadError(
                "features and labels are not of the same patients",
                found=f"{len(owners)} patients with features, {len(self.labels)} with a label, "
                f"{len(owners & set(self.labels))} with both",
            )

    @classmethod
    def of_folds(
        cls,
        tables: Mapping[str, FeatureTable],
        folds: Folds,
        positive: str,
        *,
        covariates: pd.DataFrame | None = None,
        activations: ActivationTable | None = None,
    ) -> LabelledFeatures:
        """Return the features of the patients of some folds, with their labels there."""
        labels = dict(zip(folds.patient_ids, folds.labels, strict=True))
        return cls(
            tables=tables,
            labels=labels,
            positive=positive,
            covariates=covariates,
            activations=activations,
        )

    def with_instances(self, instances: Instances | None) -> LabelledFeatures:
        """Return the same patients, beside instances to be trained on.

        Raises
        ------
        HeadError
            If a patient or a scan is in both.
        """
        if instances is not None:
            instances.demand_others(self.scans)
        return dataclasses.replace(self, instances=instances)

    @property
    def scans(self) -> FeatureTable:
        """One of the tables; what is said of scans is the same in all of them."""
        return next(iter(self.tables.values()))

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """Every patient once, sorted."""
        return tuple(sorted(self.labels))

    @property
    def negative(self) -> str:
        """The other label."""
        return next(label for label in self.labels.values() if label != self.positive)

    @property
    def is_positive(self) -> IntArray:
        """1 for the positive label, in the order of `patient_ids`, shape (n_patients,)."""
        return np.array([int(self.labels[name] == self.positive) for name in self.patient_ids])

    @property
    def scan_is_positive(self) -> IntArray:
        """The same for every scan, in the order of the tables, shape (n_scans,)."""
        return np.array(
            [int(self.labels[name] == self.positive) for name in self.scans.patient_ids]
        )

    def view(self, patient_ids: Collection[str]) -> TrainingView:
        """Return what a fit on some of the patients may see, scans in the order of their names."""
        return TrainingView.copied(self, self._rows_of(patient_ids))

    def view_of_slices(self, slices: BoolArray) -> TrainingView:
        """Return what a fit on some of the slices may see, whoever they belong to.

        For the leakage stress test, which splits patients on purpose; nothing else may ask for it.

        Parameters
        ----------
        slices : ndarray of bool, shape (n_scans, n_slices)
            In the order of the tables. The features of the others are left out: they are 0.

        Raises
        ------
        ValueError
            If there are activations, which have no slices left out.
        """
        if self.activations is not None:
            raise ValueError("slices cannot be hidden where whole scans lie at the cut")
        return TrainingView.copied(self, np.flatnonzero(slices.any(axis=1)).tolist(), slices=slices)

    def only(self, patient_ids: Collection[str]) -> LabelledFeatures:
        """Return the features of some of the patients."""
        wanted = set(patient_ids)
        rows = self._rows_of(wanted)
        return LabelledFeatures(
            tables={pooling: table.rows(rows) for pooling, table in self.tables.items()},
            labels={name: label for name, label in self.labels.items() if name in wanted},
            positive=self.positive,
            covariates=self.covariates,
            activations=_activations(self, rows),
        )

    def _rows_of(self, patient_ids: Collection[str]) -> list[int]:
        wanted = set(patient_ids)
        return [i for i, name in enumerate(self.scans.patient_ids) if name in wanted]

    def joined(self, other: LabelledFeatures) -> LabelledFeatures:
        """Return both cohorts as one; no patient may be in both.

        Raises
        ------
        HeadError
            If one is.
        """
        both = sorted(set(self.labels) & set(other.labels))
        if both:
            raise HeadError(
                "a patient is in both cohorts",
                found=", ".join(both[:5]) + (f" and {len(both) - 5} others" if both[5:] else ""),
                remedy="Leave out what was trained on already; rename patients who only share "
                "their name, for example with the site in front",
            )
        covariates, activations = self.covariates, self.activations
        if covariates is not None and other.covariates is not None:
            covariates = pd.concat([covariates, other.covariates])
        if activations is not None:
            activations = other.activations and activations.joined(other.activations)
        return LabelledFeatures(
            tables={
                pooling: table.joined(other.tables[pooling])
                for pooling, table in self.tables.items()
                if pooling in other.tables
            },
            labels={**self.labels, **other.labels},
            positive=self.positive,
            covariates=covariates,
            activations=activations,
            instances=self.instances,
        )

    def resampled(self, positions: Sequence[int] | IntArray) -> LabelledFeatures:
        """Return a resample of patients; one drawn twice counts as two patients.

        Parameters
        ----------
        positions : sequence of int
            Positions in `patient_ids`.
        """
        drawn = [(f"draw{i:06d}", self.patient_ids[at]) for i, at in enumerate(positions)]
        scans_of: dict[str, list[int]] = {}
        for row, name in enumerate(self.scans.patient_ids):
            scans_of.setdefault(name, []).append(row)
        rows = [row for _, name in drawn for row in scans_of[name]]
        owners = tuple(new for new, name in drawn for _ in scans_of[name])
        covariates = self.covariates
        if covariates is not None:
            covariates = covariates.loc[[name for _, name in drawn]]
            covariates = covariates.set_axis([new for new, _ in drawn], axis=0)
        return LabelledFeatures(
            tables={
                pooling: dataclasses.replace(table.rows(rows), patient_ids=owners)
                for pooling, table in self.tables.items()
            },
            labels={new: self.labels[name] for new, name in drawn},
            positive=self.positive,
            covariates=covariates,
            activations=_activations(self, rows),
            instances=self.instances,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingView(LabelledFeatures):
    """The training patients of one fit, and nothing else.

    Made by `LabelledFeatures.view`. A view of a view serves the folds inside training patients.

    Attributes
    ----------
    slices : ndarray of bool, shape (n_scans, n_slices)
        Which slices may be trained on: all of them, except in the leakage stress test.

    Raises
    ------
    ValueError
        If an array is a window into a larger one, through which others could be reached.
    """

    slices: BoolArray

    def __post_init__(self) -> None:
        super().__post_init__()
        arrays = [self.slices, *(table.features for table in self.tables.values())]
        if any(array.base is not None for array in arrays):
            raise ValueError("a view's arrays must be its own; use LabelledFeatures.view")

    def view(self, patient_ids: Collection[str]) -> TrainingView:
        """Return what a fit on some of these patients may see."""
        return TrainingView.copied(self, self._rows_of(patient_ids), slices=self.slices)

    @classmethod
    def copied(
        cls, source: LabelledFeatures, rows: Sequence[int], *, slices: BoolArray | None = None
    ) -> Self:
        """Copy some scans of a source, in the order of patients and scans.

        Sums over scans then do not depend on the order of a manifest's rows.
        """
        scans = source.scans
        order = sorted(rows, key=lambda row: (scans.patient_ids[row], scans.scan_ids[row]))
        wanted = {scans.patient_ids[row] for row in order}
        seen = np.ones((len(order), scans.features.shape[1]), dtype=np.bool_)
        if slices is not None:
            seen = slices.take(order, axis=0)
        covariates = source.covariates
        if covariates is not None:
            covariates = covariates.loc[covariates.index.isin(wanted)].copy()
        return cls(
            tables={
                pooling: _hidden(table.rows(order), seen)
                for pooling, table in source.tables.items()
            },
            labels={name: label for name, label in source.labels.items() if name in wanted},
            positive=source.positive,
            covariates=covariates,
            activations=_activations(source, order),
            instances=source.instances,
            slices=seen,
        )


def _hidden(table: FeatureTable, slices: BoolArray) -> FeatureTable:
    """Clear the slices that may not be seen, in the table's own array."""
    table.features[~slices] = 0.0
    return table


def _activations(source: LabelledFeatures, rows: Sequence[int]) -> ActivationTable | None:
    return None if source.activations is None else source.activations.rows(rows)


def write_features(folder: Path, cohort: LabelledFeatures) -> None:
    """Write a cohort's features and labels without naming anyone.

    Raises
    ------
    HeadError
        If the features are harmonised: what ComBat needs of the patients is not written.
    """
    if cohort.covariates is not None:
        raise HeadError(
            "features cannot go into a bundle whose heads harmonise sites",
            remedy="Do without --with-features, and keep the run for later refits",
        )
    if cohort.instances is not None:
        raise HeadError(
            "features cannot go into a bundle whose heads were fitted to instances as well",
            remedy="Do without --with-features, and keep the run for later refits",
        )
    number = {name: i for i, name in enumerate(cohort.patient_ids)}
    scans = next(iter(cohort.tables.values()))
    tensors: dict[str, npt.NDArray[np.generic]] = {
        f"features_{pooling}": table.features for pooling, table in cohort.tables.items()
    }
    tensors["z_mm"] = scans.z_mm
    tensors["owner"] = np.array([number[name] for name in scans.patient_ids], dtype=np.int64)
    tensors["positive"] = cohort.is_positive
    write_tensors(folder / FEATURES_FILE, tensors, schema=_SCHEMA)


def read_features(folder: Path, *, positive: str, others: str) -> LabelledFeatures | None:
    """Read what `write_features` wrote, patients numbered; None if nothing was."""
    path = folder / FEATURES_FILE
    if not path.exists():
        return None
    tensors = read_tensors(path, schema=_SCHEMA)
    names = tuple(f"training{i:06d}" for i in tensors["owner"])
    tables = {
        name.removeprefix("features_"): FeatureTable(
            scan_ids=tuple(f"training_scan{i:06d}" for i in range(len(names))),
            patient_ids=names,
            scan_sha256=("",) * len(names),
            features=features,
            z_mm=tensors["z_mm"],
        )
        for name, features in tensors.items()
        if name.startswith("features_")
    }
    if not tables:
        raise StoreError("the bundle's training features are missing", where=path.name)
    labels = {
        f"training{i:06d}": positive if one else others for i, one in enumerate(tensors["positive"])
    }
    return LabelledFeatures(tables=tables, labels=labels, positive=positive)
