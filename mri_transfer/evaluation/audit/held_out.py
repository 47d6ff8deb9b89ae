"""Scores of held-out patients from several tables of features, by the heads of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray
from mri_transfer.errors import EvaluationError
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import SliceOutput
from mri_transfer.training.fitted_model import FittedModel, Inference, infer
from mri_transfer.training.folds import Folds

__all__ = ["HeldOut", "HeldOutScores"]

Tables = Mapping[str, FeatureTable]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOutScores:
    """Scores and calls of the same patients.

    Attributes
    ----------
    score : ndarray of float64, shape (n_rows, n)
        Rows are repeats, or draws of repeats.
    called : ndarray of bool, shape (n_rows, n)
        Whether the positive label is predicted.
    """

    score: FloatArray
    called: BoolArray

    def of(self, columns: IntArray) -> HeldOutScores:
        """Return some patients."""
        return HeldOutScores(score=self.score[:, columns], called=self.called[:, columns])

    @classmethod
    def stacked(cls, parts: Sequence[HeldOutScores]) -> HeldOutScores:
        """Return the rows of all parts, one below the other."""
        return cls(
            score=np.concatenate([part.score for part in parts]),
            called=np.concatenate([part.called for part in parts]),
        )


class HeldOut:
    """The heads of a run, and whom each of them held out.

    Parameters
    ----------
    trained : sequence of FittedModel
        The heads of every outer fold.
    clean : mapping of str to FeatureTable
        By what models read (`FittedModel.reads`): the scans of every patient, as they are. Where
        models have tails, features of patients who were not held out are passed over.
    folds : Folds
    positive_label : str
    """

    def __init__(
        self, trained: Sequence[FittedModel], clean: Tables, folds: Folds, positive_label: str
    ) -> None:
        self.trained = trained
        self.folds = folds
        self.n_slices = next(iter(clean.values())).features.shape[1]
        self._scans_of = _scans_by_patient(next(iter(clean.values())))
        self.n_scans = sum(self._scans_of.values())
        self.row_of = {repeat: i for i, repeat in enumerate(sorted({t.repeat for t in trained}))}
        self.positive = np.array([label == positive_label for label in folds.labels])
        everybody = np.arange(len(folds.patient_ids))
        self.clean_parts = self.parts(clean, everybody)
        self.clean = self.scores(self.clean_parts, everybody)

    def complete(self, tables: Tables) -> IntArray:
        """Return the patients of whom no scan is missing."""
        first = min(self.row_of)
        scans_of: dict[str, int] = {}
        for model in self.trained:
            if model.repeat == first:
                held_out = self._held_out(model, np.arange(len(self.folds.patient_ids)))
                counts = _scans_by_patient(tables[model.reads])
                scans_of |= {name: counts[name] for name in held_out if name in counts}
        return np.array(
            [
                i
                for i, name in enumerate(self.folds.patient_ids)
                if scans_of.get(name) == self._scans_of[name]
            ],
            dtype=np.int64,
        )

    def parts(self, tables: Tables, patients: IntArray) -> list[Inference]:
        """Apply each head to the patients it held out."""
        parts = []
        for model in self.trained:
            names, table = self._held_out(model, patients), tables[model.reads]
            if not set(names).isdisjoint(table.patient_ids):
                parts.append(infer(model.on_features, {model.pooling: table}, names))
        return parts

    def _held_out(self, model: FittedModel, patients: IntArray) -> list[str]:
        """Return those of some patients whom a model held out."""
        held_out = self.folds.assignment[model.repeat][patients] == model.fold
        return [self.folds.patient_ids[i] for i in patients[held_out]]

    def scores(
        self, parts: Sequence[Inference], patients: IntArray, kept: IntArray | None = None
    ) -> HeldOutScores:
        """Join slices into patients, by each head's own procedure.

        Parameters
        ----------
        parts : sequence of Inference
        patients : ndarray of int64, shape (n,)
        kept : ndarray of int64, shape (n_scans, n_kept), optional
            The slices of each scan that are not lost.
        """
        column = {self.folds.patient_ids[patient]: i for i, patient in enumerate(patients)}
        score = np.full((len(self.row_of), len(patients)), np.nan)
        called = np.zeros(score.shape, dtype=np.bool_)
        for part in parts:
            output = part.output if kept is None else _without_lost(part.output, kept[part.scans])
            by_patient = part.model.patients(output, part.owners)
            values = np.array(list(by_patient.values()))
            cells = self.row_of[part.model.repeat], [column[name] for name in by_patient]
            score[cells] = values
            called[cells] = values >= part.model.threshold
        if np.isnan(score).any():
            raise EvaluationError(
                "a patient was held out by no head",
                found=f"{int(np.isnan(score).sum())} scores missing of {score.size}",
                expected="one head for every outer fold of every repeat",
            )
        return HeldOutScores(score=score, called=called)


def _scans_by_patient(table: FeatureTable) -> dict[str, int]:
    names, counts = np.unique(np.array(table.patient_ids, dtype=str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _without_lost(output: SliceOutput, kept: IntArray) -> SliceOutput:
    """Return what a head says of the slices that are left; their weights add up to 1 again."""
    weights = np.take_along_axis(output.weights, kept, axis=1)
    total = weights.sum(axis=1, keepdims=True)
    return SliceOutput(
        logits=np.take_along_axis(output.logits, kept, axis=1),
        weights=weights / np.maximum(total, np.finfo(np.float32).tiny),
    )
