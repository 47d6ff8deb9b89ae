"""Instances: patients of another cohort that every fit learns from, and none is tested on.

Instance transfer in the words of the field: labelled patients of the source are part of every
training set, with a weight of their own. They are joined to a fit's training patients at the last
moment, where the head is fitted. Whatever is chosen or counted (folds, inner scores,
hyperparameters, recalibration, thresholds, figures) is chosen and counted on the cohort's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import HeadError
from mri_transfer.models.features import FeatureTable

__all__ = ["Instances", "InstancesRecord"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: Names that a message lists.
_LISTED = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstancesRecord:
    """What is written beside a head about the instances it was fitted to.

    Attributes
    ----------
    weight : float
        Of each patient; one of the cohort counts 1.
    n_patients : int
    patients : tuple of str, optional
        Their names; none in a bundle.
    scans : mapping of str to str, optional
        SHA-256 of the file of each scan; none in a bundle.
    """

    weight: float
    n_patients: int
    patients: tuple[str, ...] | None = None
    scans: Mapping[str, str] | None = None

    @property
    def nameless(self) -> InstancesRecord:
        """The record without names."""
        return dataclasses.replace(self, patients=None, scans=None)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values; what is None is left out."""
        found: dict[str, Any] = {"weight": self.weight, "n_patients": self.n_patients}
        if self.patients is not None and self.scans is not None:
            found |= {"patients": list(self.patients), "scans": dict(self.scans)}
        return found

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        names = content.get("patients")
        return cls(
            weight=float(content["weight"]),
            n_patients=int(content["n_patients"]),
            patients=None if names is None else tuple(names),
            scans=content.get("scans"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Instances:
    """Labelled patients of a source cohort, and how much each of them counts.

    Attributes
    ----------
    tables : mapping of str to FeatureTable
        By pooling, all of the same scans; made by the same trunk as the cohort's.
    labels : mapping of str to str
        Of every patient in the tables. Both labels need not occur.
    weight : float
        Above 0; a patient of the cohort counts 1.
    """

    tables: Mapping[str, FeatureTable]
    labels: Mapping[str, str]
    weight: float

    @property
    def scans(self) -> FeatureTable:
        """One of the tables; what is said of scans is the same in all of them."""
        return next(iter(self.tables.values()))

    def against(self, positive: str, others: str) -> Instances:
        """Return the same with two labels: one, and a name for all others."""
        labels = {
            name: label if label == positive else others for name, label in self.labels.items()
        }
        return dataclasses.replace(self, labels=labels)

    def demand_others(self, cohort: FeatureTable) -> None:
        """Refuse a cohort of which a patient or a scan is among the instances.

        Raises
        ------
        HeadError
            If one is.
        """
        own = set(cohort.scan_sha256) - {""}
        patients = sorted(set(self.scans.patient_ids) & set(cohort.patient_ids))
        scans = sorted(
            name
            for name, sha256 in zip(self.scans.scan_ids, self.scans.scan_sha256, strict=True)
            if sha256 in own
        )
        for what, found in (("patient", patients), ("scan", scans)):
            if found:
                more = f" and {len(found) - _LISTED} others" if found[_LISTED:] else ""
                raise HeadError(
                    f"a {what} of the cohort is among the instances as well",
                    found=", ".join(found[:_LISTED]) + more,
                    expected="another cohort: whoever is tested must not be trained on",
                    remedy="Leave the patient out of one manifest; rename patients who only share "
                    "their name, for example with the site in front",
                )

    def beside(
        self, pooling: str, table: FeatureTable, labels: IntArray, slices: BoolArray, positive: str
    ) -> tuple[FeatureTable, IntArray, BoolArray, npt.NDArray[np.float64]]:
        """Return what a head is fitted to: training scans, the instances behind them, weights.

        Parameters
        ----------
        pooling : str
        table : FeatureTable
            Of the training scans.
        labels : ndarray of {0, 1}, shape (n_scans,)
        slices : ndarray of bool, shape (n_scans, n_slices)
        positive : str
            The label whose patients are 1.
        """
        added = self.tables[pooling].sorted()
        of_added = np.array([int(self.labels[name] == positive) for name in added.patient_ids])
        weights = np.ones(len(labels) + len(of_added))
        weights[len(labels) :] = self.weight
        seen = np.ones((len(of_added), slices.shape[1]), dtype=np.bool_)
        return (
            table.joined(added),
            np.concatenate([labels, of_added]),
            np.concatenate([slices, seen]),
            weights,
        )

    @property
    def record(self) -> InstancesRecord:
        """What is written beside a head."""
        scans = self.scans.sorted()
        return InstancesRecord(
            weight=self.weight,
            n_patients=len(self.labels),
            patients=tuple(sorted(self.labels)),
            scans=dict(zip(scans.scan_ids, scans.scan_sha256, strict=True)),
        )
