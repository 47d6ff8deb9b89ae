"""A trained fold: its head, and what it says of patients it has not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.tensorfile import described_files
from mri_transfer.models.aggregation import join_slices
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.harmonisation import Combat, HarmonisationSpec, fit_combat
from mri_transfer.models.heads import Head, SliceOutput, apply_head
from mri_transfer.models.recalibration import Recalibration
from mri_transfer.training.folds import Folds
from mri_transfer.training.predictions import PatientScores, SliceScores

__all__ = ["Harmonise", "Harmoniser", "FittedModel", "predict_folds"]

IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Harmonise:
    """How sites are taken out of the features, and what is known of the patients for it.

    Attributes
    ----------
    spec : HarmonisationSpec
        Of kind `combat`.
    covariates : DataFrame
        Indexed by patient_id: the site and the columns that are kept, of every patient.
    """

    spec: HarmonisationSpec
    covariates: pd.DataFrame


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Harmoniser:
    """Harmonisation as it was fitted on a fold's training patients, and what it needs of others.

    Attributes
    ----------
    combat : Combat
    covariates : DataFrame
        Indexed by patient_id: the site and the columns that are kept, of every patient.
    """

    combat: Combat
    covariates: pd.DataFrame

    @classmethod
    def fit(cls, harmonise: Harmonise, table: FeatureTable, scans: IntArray) -> Harmoniser:
        """Fit it on some scans of a table."""
        known = harmonise.covariates.loc[[table.patient_ids[i] for i in scans]]
        combat = fit_combat(table.features[scans], known, spec=harmonise.spec)
        return cls(combat=combat, covariates=harmonise.covariates)

    def apply(
        self, features: npt.NDArray[np.float32], owners: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """Harmonise the features of scans, shape (n_scans, n_slices, n_features)."""
        harmonised = self.combat.apply(features, self.covariates.loc[list(owners)])
        return np.asarray(harmonised, dtype=np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedModel:
    """The head of one outer fold; `head.facts` holds what was chosen and who was seen."""

    repeat: int
    fold: int
    head: Head
    harmoniser: Harmoniser | None = None

    @property
    def threshold(self) -> float:
        """Score from which the positive label is predicted."""
        return float(self.head.facts["threshold"])

    @property
    def recalibration(self) -> Recalibration:
        """What turns joined slices into a probability."""
        return Recalibration.from_dict(self.head.facts["recalibration"])

    @property
    def pooling(self) -> str:
        """The pooling of the features that the head reads."""
        return str(self.head.facts["procedure"]["pooling"])

    def slices(self, features: npt.NDArray[np.float32], owners: Sequence[str]) -> SliceOutput:
        """Say what the head makes of slices.

        Parameters
        ----------
        features : ndarray of float32, shape (n_scans, n_slices, n_features)
        owners : sequence of str, length n_scans
            The patient of each scan.
        """
        if self.harmoniser is not None:
            features = self.harmoniser.apply(features, owners)
        return apply_head(self.head, features)

    def patients(self, output: SliceOutput, owners: Sequence[str]) -> dict[str, float]:
        """Join slices into patients' scores, and recalibrate them.

        Parameters
        ----------
        output : SliceOutput
            Of `slices`.
        owners : sequence of str, length n_scans
        """
        joined = join_slices(output, owners, self.head.facts["procedure"]["aggregation"])
        values = self.recalibration.apply(np.array(list(joined.values())))
        return dict(zip(joined, values.tolist(), strict=True))

    def write(self, stem: Path) -> list[Path]:
        """Write the head, and the harmonisation beside it; return the files."""
        stems = [stem]
        self.head.write(stem)
        if self.harmoniser is not None:
            stems.append(_harmoniser_stem(stem))
            self.harmoniser.combat.write(stems[1])
        return [file for one in stems for file in described_files(one)]

    @classmethod
    def read(
        cls, stem: Path, *, repeat: int, fold: int, covariates: pd.DataFrame | None = None
    ) -> FittedModel:
        """Read what `write` wrote.

        Parameters
        ----------
        stem : Path
        repeat, fold : int
        covariates : DataFrame, optional
            As in `Harmoniser`; without it there is no harmonisation to read.
        """
        harmoniser = None
        if covariates is not None:
            combat = Combat.read(_harmoniser_stem(stem))
            harmoniser = Harmoniser(combat=combat, covariates=covariates)
        return cls(repeat=repeat, fold=fold, head=Head.read(stem), harmoniser=harmoniser)


def _harmoniser_stem(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}_combat")


def predict_folds(
    trained: Sequence[FittedModel],
    tables: Mapping[str, FeatureTable],
    folds: Folds,
    *,
    positive_label: str,
    negative_label: str,
) -> tuple[PatientScores, SliceScores]:
    """Score each outer fold's test patients with its head.

    A slice's score is the head's own probability; a patient's is joined and recalibrated.
    """
    from scipy.special import expit

    label_of = dict(zip(folds.patient_ids, folds.labels, strict=True))
    patients: list[tuple[Any, ...]] = []
    slices: list[pd.DataFrame] = []
    for one in trained:
        table = tables[one.pooling]
        owners = np.array(table.patient_ids, dtype=object)
        held_out = {
            name
            for name, fold in zip(folds.patient_ids, folds.assignment[one.repeat], strict=True)
            if fold == one.fold
        }
        scans = np.flatnonzero([owner in held_out for owner in owners])
        output = one.slices(table.features[scans], owners[scans].tolist())
        scores = one.patients(output, owners[scans].tolist())
        for name, score in sorted(scores.items()):
            n_slices = int((owners[scans] == name).sum()) * table.features.shape[1]
            label = positive_label if label_of[name] == positive_label else negative_label
            predicted = positive_label if score >= one.threshold else negative_label
            patients.append((one.repeat, one.fold, name, label, score, predicted, n_slices))
        slices.append(_slice_rows(one, table, scans, expit(output.logits.astype(np.float64))))
    slice_table = pd.concat(slices, ignore_index=True)
    order = ["repeat", "fold", "patient_id", "scan_id", "slice"]
    patient_table = pd.DataFrame(patients, columns=list(PatientScores.columns))
    return (
        PatientScores(table=patient_table.sort_values(order[:3], ignore_index=True)),
        SliceScores(table=slice_table.sort_values(order, ignore_index=True)),
    )


def _slice_rows(
    one: FittedModel, table: FeatureTable, scans: IntArray, scores: npt.NDArray[np.float64]
) -> pd.DataFrame:
    n_slices = scores.shape[1]
    return pd.DataFrame(
        {
            "repeat": one.repeat,
            "fold": one.fold,
            "patient_id": np.repeat([table.patient_ids[i] for i in scans], n_slices),
            "scan_id": np.repeat([table.scan_ids[i] for i in scans], n_slices),
            "slice": np.tile(np.arange(n_slices), len(scans)),
            "z_mm": table.z_mm[scans].ravel().astype(np.float64),
            "score": scores.ravel(),
        }
    )[list(SliceScores.columns)]
