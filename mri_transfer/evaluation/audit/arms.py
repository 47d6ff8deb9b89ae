"""The arms of the leakage stress test: how slices are split, and one cross-validation of each.

A leaky split cannot be written down as folds of patients. So every arm, the honest one too, names
the slices of each fit (`LabelledFeatures.view_of_slices`); the fit itself is that of any fold,
harmonisation included.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, cast, get_args

import numpy as np
from sklearn.base import clone

from mri_transfer.core.arrays import BoolArray, IntArray, SingleArray
from mri_transfer.core.grouping import positions_by_name
from mri_transfer.core.results import ResultStore
from mri_transfer.core.specs import digest, spec_dict
from mri_transfer.evaluation.audit.document import ArmName
from mri_transfer.evaluation.audit.outcomes import Outcome
from mri_transfer.models.aggregation import join_slices
from mri_transfer.models.heads import SliceOutput
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds, derive_seed, make_folds
from mri_transfer.training.settings import FoldSpec

__all__ = [
    "Arm",
    "ArmRunner",
    "Split",
    "all_arms",
    "harmonisation_key",
    "session_split",
    "slice_split",
]


#: The wide layer of the published head is large.
_SCANS_AT_ONCE = 64

#: What stays together: the scans of a patient, the slices of a scan, or nothing.
Split = Literal["patient", "slice", "session"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to split, with true labels or with labels permuted between patients."""

    split: Split
    permuted: bool

    @property
    def name(self) -> ArmName:
        """The name in `audit.json`."""
        labels = "permuted" if self.permuted else "true"
        return cast(ArmName, f"{self.split}_split_{labels}_labels")


def slice_split(n_scans: int, n_slices: int, *, n_folds: int, seed: int) -> IntArray:
    """Split shuffled slices into folds, whoever they belong to: the leaky split.

    Returns
    -------
    ndarray of int64, shape (n_scans, n_slices)
        The fold that holds each slice out.
    """
    order = np.random.default_rng(seed).permutation(n_scans * n_slices)
    fold = np.empty(n_scans * n_slices, dtype=np.int64)
    fold[order] = np.arange(len(order)) % n_folds
    return fold.reshape(n_scans, n_slices)


def session_split(
    patient_of_scan: IntArray, labels: IntArray, *, n_folds: int, seed: int
) -> IntArray:
    """Split whole scans into folds, the scans of one patient into different ones.

    Parameters
    ----------
    patient_of_scan : ndarray of int64, shape (n_scans,)
        Position of each scan's patient.
    labels : ndarray of int64, shape (n_patients,)
        Patients are shuffled label by label, so that every fold has its share of each.
    n_folds, seed : int

    Returns
    -------
    ndarray of int64, shape (n_scans,)
        The fold that holds each scan out.
    """
    rng = np.random.default_rng(seed)
    patients = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    )
    scans_of = positions_by_name(patient_of_scan.tolist())
    order = np.concatenate([rng.permutation(scans_of[patient]) for patient in patients.tolist()])
    fold = np.empty(len(patient_of_scan), dtype=np.int64)
    # A patient's scans follow each other, so that they go to different folds.
    fold[order] = np.arange(len(order)) % n_folds
    return fold


class ArmRunner:
    """Runs one cross-validation of the stress test after another.

    Parameters
    ----------
    estimator : TransferClassifier
        Nothing is chosen in it: a leaky split offers no honest place to choose.
    data : LabelledFeatures
    folds : Folds
        The first repeat is the honest split of the true labels.
    fold_spec : FoldSpec
    seed : int
    results : ResultStore, optional
        Where finished cross-validations are kept, and looked for before one is run.
    features_id : str
        What the features are known by; part of the keys in `results`.
    """

    def __init__(
        self,
        estimator: TransferClassifier,
        data: LabelledFeatures,
        folds: Folds,
        fold_spec: FoldSpec,
        *,
        seed: int,
        results: ResultStore | None,
        features_id: str,
    ) -> None:
        self.estimator = estimator
        self.hyperparameters = estimator.request().hyperparameters
        self.data = data
        self.table = data.tables[estimator.pooling]
        self.folds = folds
        self.fold_spec = dataclasses.replace(fold_spec, n_repeats=1)
        self.seed = seed
        self.results = results
        self.features_id = features_id
        position = {name: i for i, name in enumerate(folds.patient_ids)}
        self.patient_of_scan = np.array([position[name] for name in self.table.patient_ids])

    def run(self, arm: Arm, labels: IntArray, *, replicate: int) -> Outcome:
        """Return what a cross-validation gives, from `results` if it is there.

        Parameters
        ----------
        arm : Arm
        labels : ndarray of int64, shape (n_patients,)
            1 for the positive label, 0 for the other.
        replicate : int
            Counts permutations of the labels.
        """
        if self.results is None:
            return self._cross_validate(arm, labels, replicate)
        key = self._key(arm, labels, replicate)
        known = self.results.get(key)
        if known is None:
            known = self._cross_validate(arm, labels, replicate).as_dict()
            self.results.put(key, known)
        return Outcome.from_dict(known)

    def _key(self, arm: Arm, labels: IntArray, replicate: int) -> str:
        named = {
            "kind": "leakage stress test/1",
            "head": spec_dict(self.hyperparameters.head),
            "aggregation": self.hyperparameters.joining,
            "n_folds": self.fold_spec.n_folds,
            "patients": list(self.folds.patient_ids),
            "folds": self.folds.assignment[0].tolist(),
            "scans": [list(pair) for pair in zip(*self._names(), strict=True)],
            "labels": labels.tolist(),
            "features": self.features_id,
            "seed": self.seed,
            "arm": arm.name,
            "replicate": replicate,
        }
        return digest({**named, **harmonisation_key(self.estimator, self.data)})

    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.table.scan_ids, self.table.patient_ids

    def _cross_validate(self, arm: Arm, labels: IntArray, replicate: int) -> Outcome:
        """Cross-validate once; every slice is scored by the head that held it out."""
        held = self._held_out(arm, labels, replicate)
        data = self._labelled(labels)
        logits = np.empty(held.shape, dtype=np.float32)
        weights = np.empty_like(logits)

        def fit(fold: int) -> FittedModel:
            view = data.view_of_slices(held != fold)
            estimator: TransferClassifier = clone(self.estimator)
            estimator.fit_view(view, seed=self.seed, place=(10, replicate, fold))
            return estimator.model_.with_covariates(data.covariates)

        for fold in np.unique(held).tolist():
            self._score(fit(fold), held == fold, logits, weights)
        # Slices of one scan come from several heads under the slice split; weights add up to 1.
        weights /= weights.sum(axis=1, keepdims=True)
        return self._outcome(SliceOutput(logits=logits, weights=weights), labels)

    def _labelled(self, labels: IntArray) -> LabelledFeatures:
        """Return the features with the labels of this cross-validation."""
        words = np.array([self.data.negative, self.data.positive], dtype=object)[labels]
        return dataclasses.replace(
            self.data, labels=dict(zip(self.folds.patient_ids, words.tolist(), strict=True))
        )

    def _score(
        self, model: FittedModel, test: BoolArray, logits: SingleArray, weights: SingleArray
    ) -> None:
        """Write down what a model says of the slices held out, a few scans at a time."""
        for start in range(0, len(test), _SCANS_AT_ONCE):
            part = slice(start, start + _SCANS_AT_ONCE)
            output = model.slices(self.table.features[part], self.table.patient_ids[part])
            logits[part][test[part]] = output.logits[test[part]]
            weights[part][test[part]] = output.weights[test[part]]

    def _held_out(self, arm: Arm, labels: IntArray, replicate: int) -> IntArray:
        """Return the fold that holds each slice out, shape (n_scans, n_slices)."""
        n_scans, n_slices, _ = self.table.features.shape
        n_folds = self.fold_spec.n_folds
        if arm.split == "slice":
            seed = derive_seed(self.seed, 9, replicate)
            return slice_split(n_scans, n_slices, n_folds=n_folds, seed=seed)
        if arm.split == "session":
            seed = derive_seed(self.seed, 11, replicate)
            scans = session_split(self.patient_of_scan, labels, n_folds=n_folds, seed=seed)
        else:
            scans = self._patient_folds(labels, permuted=arm.permuted)[self.patient_of_scan]
        return np.repeat(scans[:, None], n_slices, axis=1)

    def _patient_folds(self, labels: IntArray, *, permuted: bool) -> IntArray:
        if not permuted:
            return np.asarray(self.folds.assignment[0])
        # Stratified anew: folds balanced for other labels would push permuted AUCs below one half.
        drawn = make_folds(
            list(self.folds.patient_ids),
            [str(label) for label in labels],
            spec=self.fold_spec,
            seed=self.seed,
        )
        return np.asarray(drawn.assignment[0])

    def _outcome(self, output: SliceOutput, labels: IntArray) -> Outcome:
        names = self.folds.patient_ids
        joined = join_slices(
            output, [names[i] for i in self.patient_of_scan], self.hyperparameters.joining
        )
        right = (output.logits > 0) == (labels[self.patient_of_scan][:, None] == 1)
        scans_of = positions_by_name(self.patient_of_scan.tolist())
        members = [scans_of[i] for i in range(len(names))]
        return Outcome(
            labels=labels,
            slice_accuracy=np.array([right[own].mean() for own in members]),
            slice_logits=np.stack([output.logits[own].mean(axis=0) for own in members]),
            scores=np.array([joined[name] for name in names]),
        )


def harmonisation_key(estimator: TransferClassifier, data: LabelledFeatures) -> dict[str, Any]:
    """Return what tells results of harmonised features from others; nothing if they are not."""
    spec = estimator.request().harmonisation
    if spec.kind == "none" or data.covariates is None:
        return {}
    columns = data.covariates[[spec.site_column, *spec.preserve]].sort_index()
    return {"harmonisation": spec_dict(spec), "covariates": columns.to_csv()}


def all_arms(*, sessions: bool) -> list[Arm]:
    """Return the arms, the honest one first; those of the session split only if asked for."""
    splits = [split for split in get_args(Split) if sessions or split != "session"]
    return [Arm(split=split, permuted=permuted) for split in splits for permuted in (False, True)]
