"""LabelledFeatures: the features of labelled patients, as heads are fitted on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.tensorfile import read_tensors, write_tensors
from mri_transfer.errors import HeadError, StoreError
from mri_transfer.models.features import FeatureTable
from mri_transfer.training.fitted_model import Harmonise

__all__ = ["FEATURES_FILE", "LabelledFeatures", "read_features", "write_features"]

#: Of a bundle; only where its maker asked for it.
FEATURES_FILE = "features.safetensors"

_SCHEMA = "mri-transfer/bundle-features/1"

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
    harmonise : Harmonise, optional
        Takes sites out of the features; its covariates hold every patient.
    """

    tables: Mapping[str, FeatureTable]
    labels: Mapping[str, str]
    positive: str
    harmonise: Harmonise | None = None

    def __post_init__(self) -> None:
        owners = set(self._scans.patient_ids)
        if owners != set(self.labels):
            raise HeadError(
                "features and labels are not of the same patients",
                found=f"{len(owners)} patients with features, {len(self.labels)} with a label, "
                f"{len(owners & set(self.labels))} with both",
            )

    @property
    def _scans(self) -> FeatureTable:
        return next(iter(self.tables.values()))

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """Every patient once, sorted."""
        return tuple(sorted(self.labels))

    @property
    def is_positive(self) -> IntArray:
        """1 for the positive label, in the order of `patient_ids`, shape (n_patients,)."""
        return np.array([int(self.labels[name] == self.positive) for name in self.patient_ids])

    def only(self, patient_ids: Collection[str]) -> LabelledFeatures:
        """Return the cohort of some of the patients."""
        wanted = set(patient_ids)
        rows = [i for i, name in enumerate(self._scans.patient_ids) if name in wanted]
        return dataclasses.replace(
            self,
            tables={pooling: _rows(table, rows) for pooling, table in self.tables.items()},
            labels={name: label for name, label in self.labels.items() if name in wanted},
        )

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
        harmonise = self.harmonise
        if harmonise is not None and other.harmonise is not None:
            covariates = pd.concat([harmonise.covariates, other.harmonise.covariates])
            harmonise = dataclasses.replace(harmonise, covariates=covariates)
        return dataclasses.replace(
            self,
            tables={
                pooling: _stacked(table, other.tables[pooling])
                for pooling, table in self.tables.items()
                if pooling in other.tables
            },
            labels={**self.labels, **other.labels},
            harmonise=harmonise,
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
        for row, name in enumerate(self._scans.patient_ids):
            scans_of.setdefault(name, []).append(row)
        rows = [row for _, name in drawn for row in scans_of[name]]
        owners = tuple(new for new, name in drawn for _ in scans_of[name])
        harmonise = self.harmonise
        if harmonise is not None:
            covariates = harmonise.covariates.loc[[name for _, name in drawn]]
            covariates = covariates.set_axis([new for new, _ in drawn], axis=0)
            harmonise = dataclasses.replace(harmonise, covariates=covariates)
        return dataclasses.replace(
            self,
            tables={
                pooling: dataclasses.replace(_rows(table, rows), patient_ids=owners)
                for pooling, table in self.tables.items()
            },
            labels={new: self.labels[name] for new, name in drawn},
            harmonise=harmonise,
        )


def _rows(table: FeatureTable, rows: Sequence[int]) -> FeatureTable:
    return FeatureTable(
        scan_ids=tuple(table.scan_ids[i] for i in rows),
        patient_ids=tuple(table.patient_ids[i] for i in rows),
        scan_sha256=tuple(table.scan_sha256[i] for i in rows),
        features=table.features[list(rows)],
        z_mm=table.z_mm[list(rows)],
    )


def _stacked(one: FeatureTable, other: FeatureTable) -> FeatureTable:
    return FeatureTable(
        scan_ids=one.scan_ids + other.scan_ids,
        patient_ids=one.patient_ids + other.patient_ids,
        scan_sha256=one.scan_sha256 + other.scan_sha256,
        features=np.concatenate([one.features, other.features]),
        z_mm=np.concatenate([one.z_mm, other.z_mm]),
    )


def write_features(folder: Path, cohort: LabelledFeatures) -> None:
    """Write a cohort's features and labels without naming anyone.

    Raises
    ------
    HeadError
        If the features are harmonised: what ComBat needs of the patients is not written.
    """
    if cohort.harmonise is not None:
        raise HeadError(
            "features cannot go into a bundle whose heads harmonise sites",
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
