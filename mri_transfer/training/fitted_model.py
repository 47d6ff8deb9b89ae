"""A fitted model: its head, and what it says of patients it has not seen."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.tensorfile import described_files
from mri_transfer.errors import HeadError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.aggregation import join_slices
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.harmonisation import Combat
from mri_transfer.models.heads import Head, SliceOutput, apply_head
from mri_transfer.models.recalibration import Recalibration
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.tails.tuned_features import Reader
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fit_record import FitRecord
from mri_transfer.training.predictions import PatientScores, SliceScores

__all__ = [
    "FittedModel",
    "Harmoniser",
    "Inference",
    "infer",
    "patient_scores",
    "prediction_tables",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Harmoniser:
    """Harmonisation as it was fitted on training patients, and what it needs of others.

    Attributes
    ----------
    combat : Combat
    covariates : DataFrame
        Indexed by patient_id: the site and the columns that are kept, of every patient whose
        features are to be harmonised.
    """

    combat: Combat
    covariates: pd.DataFrame

    def apply(
        self, features: npt.NDArray[np.float32], owners: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """Harmonise the features of scans, shape (n_scans, n_slices, n_features)."""
        harmonised = self.combat.apply(features, self.covariates.loc[list(owners)])
        return np.asarray(harmonised, dtype=np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedModel:
    """A head fitted on some patients; `head.facts` is the `record` as files hold it.

    With a tail, the features that the head reads are those that the tail makes.
    """

    repeat: int
    fold: int
    head: Head
    harmoniser: Harmoniser | None = None
    tail: Tail | None = None

    @functools.cached_property
    def record(self) -> FitRecord:
        """What was chosen and who was seen."""
        return FitRecord.from_dict(self.head.facts)

    @property
    def threshold(self) -> float:
        """Score from which the positive label is predicted."""
        return self.record.threshold

    @property
    def recalibration(self) -> Recalibration:
        """What turns joined slices into a probability."""
        return self.record.recalibration

    @property
    def pooling(self) -> str:
        """The pooling of the features that the head reads."""
        return self.record.hyperparameters.pooling

    def with_record(self, record: FitRecord) -> FittedModel:
        """Return the model with another record."""
        head = dataclasses.replace(self.head, facts=record.as_dict())
        return dataclasses.replace(self, head=head)

    def with_covariates(self, covariates: pd.DataFrame | None) -> FittedModel:
        """Return the model with the covariates of the patients it is to score.

        Parameters
        ----------
        covariates : DataFrame, optional
            As in `Harmoniser`. Without it features are taken as harmonised.
        """
        if self.harmoniser is None or covariates is None:
            return dataclasses.replace(self, harmoniser=None)
        known = dataclasses.replace(self.harmoniser, covariates=covariates)
        return dataclasses.replace(self, harmoniser=known)

    def with_source(self, source: TailSource | None) -> FittedModel:
        """Return the model with what its tail starts from; itself where it has no tail."""
        if self.tail is None or source is None:
            return self
        return dataclasses.replace(self, tail=self.tail.with_source(source))

    @property
    def on_features(self) -> FittedModel:
        """The model without its tail, for features that the tail has made already."""
        return self if self.tail is None else dataclasses.replace(self, tail=None)

    @property
    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """All that was fitted, the tail's tensors under names that begin with `tail.`."""
        tail = {} if self.tail is None else self.tail.tensors
        return {**self.head.tensors, **{f"tail.{name}": values for name, values in tail.items()}}

    @property
    def reads(self) -> str:
        """The name of the features that the head reads: their pooling, or the fold of its tail."""
        return self.pooling if self.tail is None else f"r{self.repeat}_f{self.fold}"

    @property
    def reader(self) -> Reader:
        """What the head of a model with a tail reads."""
        assert self.tail is not None
        return Reader(tail=self.tail, pooling=self.pooling)

    def slices(
        self,
        features: npt.NDArray[np.float32],
        owners: Sequence[str],
        activations: ActivationTable | None = None,
    ) -> SliceOutput:
        """Say what the head makes of slices.

        Parameters
        ----------
        features : ndarray of float32, shape (n_scans, n_slices, n_features)
            Of the trunk as released; a tail makes its own.
        owners : sequence of str, length n_scans
            The patient of each scan.
        activations : ActivationTable, optional
            What lies at the cut, of the same scans; a model with a tail needs it.

        Raises
        ------
        HeadError
            If the model has a tail and is given features alone.
        """
        if self.tail is not None and len(features):
            features = self._tuned(activations)
        if self.harmoniser is not None:
            features = self.harmoniser.apply(features, owners)
        return apply_head(self.head, features)

    def _tuned(self, activations: ActivationTable | None) -> npt.NDArray[np.float32]:
        assert self.tail is not None
        if activations is None:
            raise HeadError(
                "a model with a trained tail cannot score features of the untuned trunk",
                found=f"a tail behind {self.tail.cut}",
                expected="the activations at the cut",
                remedy='Use tuning.strategy = "frozen" for what works on features alone',
            )
        return self.tail.features(activations, [self.pooling])[self.pooling]

    def patients(self, output: SliceOutput, owners: Sequence[str]) -> dict[str, float]:
        """Join slices into patients' scores, and recalibrate them.

        Parameters
        ----------
        output : SliceOutput
            Of `slices`.
        owners : sequence of str, length n_scans
        """
        joined = self.joined(output, owners)
        values = self.recalibration.apply(np.array(list(joined.values())))
        return dict(zip(joined, values.tolist(), strict=True))

    def joined(self, output: SliceOutput, owners: Sequence[str]) -> dict[str, float]:
        """Join slices into patients' scores, as the head gives them: not recalibrated."""
        return join_slices(output, owners, self.record.hyperparameters.joining)

    def write(self, stem: Path) -> list[Path]:
        """Write the head, harmonisation and tail beside it; return the files."""
        stems = [stem]
        self.head.write(stem)
        if self.harmoniser is not None:
            stems.append(_harmoniser_stem(stem))
            self.harmoniser.combat.write(stems[-1])
        if self.tail is not None:
            stems.append(_tail_stem(stem))
            self.tail.write(stems[-1])
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
        model = cls(repeat=repeat, fold=fold, head=Head.read(stem), harmoniser=harmoniser)
        if model.record.tuning is None:
            return model
        return dataclasses.replace(model, tail=Tail.read(_tail_stem(stem)))


def _tail_stem(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}_tail")


def _harmoniser_stem(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}_combat")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Inference:
    """What a model says of the slices of some patients.

    Attributes
    ----------
    model : FittedModel
    table : FeatureTable
        Of the pooling that the model reads.
    scans : ndarray of int64, shape (n_scans,)
        Positions in the table.
    output : SliceOutput
    """

    model: FittedModel
    table: FeatureTable
    scans: IntArray
    output: SliceOutput

    @property
    def owners(self) -> list[str]:
        """The patient of each scan."""
        return [self.table.patient_ids[i] for i in self.scans]


def infer(
    model: FittedModel,
    tables: Mapping[str, FeatureTable],
    patient_ids: Collection[str],
    *,
    activations: ActivationTable | None = None,
) -> Inference:
    """Apply a model to all scans of some patients.

    Parameters
    ----------
    model : FittedModel
    tables : mapping of str to FeatureTable
        By pooling.
    patient_ids : collection of str
    activations : ActivationTable, optional
        In the order of the tables; a model with a tail needs them.
    """
    table, wanted = tables[model.pooling], set(patient_ids)
    scans = np.array(
        [i for i, name in enumerate(table.patient_ids) if name in wanted], dtype=np.int64
    )
    owners = [table.patient_ids[i] for i in scans]
    own = None if activations is None else activations.rows(scans)
    if model.tail is None and model.harmoniser is None:
        # Features of a large fold are not copied.
        output = apply_head(model.head, table.features, rows=scans)
    else:
        output = model.slices(table.features[scans], owners, own)
    return Inference(model=model, table=table, scans=scans, output=output)


def patient_scores(
    model: FittedModel, data: LabelledFeatures, *, recalibrated: bool = True
) -> FloatArray:
    """Score patients, in the order of their names.

    Parameters
    ----------
    model : FittedModel
    data : LabelledFeatures
        With covariates if the model harmonises.
    recalibrated : bool
        Or as the head gives them.

    Raises
    ------
    HeadError
        If the model harmonises and the covariates are missing.
    """
    if model.harmoniser is not None and data.covariates is None:
        raise HeadError("the head harmonises sites, and those of the cohort are not known")
    found = infer(
        model.with_covariates(data.covariates),
        data.tables,
        data.labels,
        activations=data.activations,
    )
    join = model.patients if recalibrated else model.joined
    scores = join(found.output, found.owners)
    return np.array([scores[name] for name in data.patient_ids])


def prediction_tables(
    held_out: Sequence[Inference],
    labels: Mapping[str, str],
    *,
    positive_label: str,
    negative_label: str,
) -> tuple[PatientScores, SliceScores]:
    """Write down what models say of the patients that they held out."""
    patients: list[tuple[Any, ...]] = []
    for part in held_out:
        model, owners, n_scans = part.model, part.owners, Counter(part.owners)
        for name, score in sorted(model.patients(part.output, owners).items()):
            n_slices = n_scans[name] * part.table.features.shape[1]
            label = positive_label if labels[name] == positive_label else negative_label
            predicted = positive_label if score >= model.threshold else negative_label
            patients.append((model.repeat, model.fold, name, label, score, predicted, n_slices))
    slice_table = pd.concat([_slice_rows(part) for part in held_out], ignore_index=True)
    order = ["repeat", "fold", "patient_id", "scan_id", "slice"]
    patient_table = pd.DataFrame(patients, columns=list(PatientScores.columns))
    return (
        PatientScores(table=patient_table.sort_values(order[:3], ignore_index=True)),
        SliceScores(table=slice_table.sort_values(order, ignore_index=True)),
    )


def _slice_rows(part: Inference) -> pd.DataFrame:
    from scipy.special import expit

    table, scans, n_slices = part.table, part.scans, part.table.features.shape[1]
    scores = expit(part.output.logits.astype(np.float64))
    return pd.DataFrame(
        {
            "repeat": part.model.repeat,
            "fold": part.model.fold,
            "patient_id": np.repeat(part.owners, n_slices),
            "scan_id": np.repeat([table.scan_ids[i] for i in scans], n_slices),
            "slice": np.tile(np.arange(n_slices), len(scans)),
            "z_mm": table.z_mm[scans].ravel().astype(np.float64),
            "score": scores.ravel(),
        }
    )[list(SliceScores.columns)]
