"""Cross-validation by patient: heads fitted per fold, with every choice made inside training.

For each outer fold the training patients are split again. The inner predictions choose among the
head's candidates and set the decision threshold; then the chosen head is fitted on all training
patients. Test patients take part in none of this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.evaluation.discrimination import auc, youden_threshold
from mri_transfer.features import FeatureTable
from mri_transfer.folds import Folds, FoldSpec, OuterFold, inner_folds
from mri_transfer.heads import (
    AttentionHeadSpec,
    Fit,
    Head,
    LinearHeadSpec,
    PublishedHeadSpec,
    apply_head,
    fit_heads,
)
from mri_transfer.predictions import (
    Aggregation,
    PatientScores,
    PredictionSpec,
    SliceScores,
    join_slices,
    resolve_aggregation,
)

__all__ = ["CrossValidation", "TrainedFold", "cross_validate", "derive_seed", "predict_folds"]

IntArray = npt.NDArray[np.int64]
AnyHeadSpec = LinearHeadSpec | PublishedHeadSpec | AttentionHeadSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedFold:
    """The head of one outer fold; `head.facts` holds what was chosen and who was seen."""

    repeat: int
    fold: int
    head: Head

    @property
    def threshold(self) -> float:
        """Score from which the positive label is predicted."""
        return float(self.head.facts["threshold"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Heads and held-out scores of every outer fold."""

    trained: tuple[TrainedFold, ...]
    patients: PatientScores
    slices: SliceScores


def derive_seed(seed: int, *place: int) -> int:
    """Return a seed of its own for a place (repeat, fold, ...) under the run's seed."""
    state = np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def cross_validate(
    head_spec: AnyHeadSpec,
    table: FeatureTable,
    folds: Folds,
    *,
    fold_spec: FoldSpec,
    prediction_spec: PredictionSpec,
    positive_label: str,
    negative_label: str,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Fit a head per outer fold and score the patients it did not see.

    Parameters
    ----------
    head_spec : HeadSpec
    table : FeatureTable
        Features of the scans of every patient in `folds`.
    folds : Folds
    fold_spec : FoldSpec
        `n_inner_folds` is used.
    prediction_spec : PredictionSpec
    positive_label, negative_label : str
    seed : int
    progress : callable, optional
        Called with the number of fits done and the number in all.

    Returns
    -------
    CrossValidation
    """
    job = _Job(head_spec, table, folds, fold_spec, prediction_spec, positive_label, seed)
    outer = list(folds)
    plans = [job.inner_plan(fold) for fold in outer]
    fits = [fit for plan in plans for fit in plan.fits] + [job.outer_fit(f) for f in outer]
    report = progress or (lambda _done, _total: None)
    n_inner = len(fits) - len(outer)
    job.score_inner(plans, fits[:n_inner], lambda done: report(done, len(fits)))
    trained: list[TrainedFold | None] = [None] * len(outer)
    for i, candidate, head in fit_heads(head_spec, table, job.labels, fits[n_inner:]):
        if candidate == plans[i].chosen:
            facts = job.facts(outer[i], plans[i])
            trained[i] = TrainedFold(
                repeat=outer[i].repeat,
                fold=outer[i].fold,
                head=dataclasses.replace(head, facts=facts),
            )
            report(n_inner + i + 1, len(fits))
    complete = tuple(one for one in trained if one is not None)
    patients, slices = predict_folds(
        complete,
        table,
        folds,
        aggregation=job.aggregation,
        positive_label=positive_label,
        negative_label=negative_label,
    )
    return CrossValidation(trained=complete, patients=patients, slices=slices)


def predict_folds(
    trained: Sequence[TrainedFold],
    table: FeatureTable,
    folds: Folds,
    *,
    aggregation: Aggregation,
    positive_label: str,
    negative_label: str,
) -> tuple[PatientScores, SliceScores]:
    """Score each outer fold's test patients with its head."""
    from scipy.special import expit

    owners = np.array(table.patient_ids, dtype=object)
    label_of = dict(zip(folds.patient_ids, folds.labels, strict=True))
    patients: list[tuple[Any, ...]] = []
    slices: list[pd.DataFrame] = []
    for one in trained:
        held_out = {
            name
            for name, fold in zip(folds.patient_ids, folds.assignment[one.repeat], strict=True)
            if fold == one.fold
        }
        scans = np.flatnonzero([owner in held_out for owner in owners])
        output = apply_head(one.head, table.features[scans])
        joined = join_slices(output, owners[scans].tolist(), aggregation)
        for name in sorted(joined):
            n_slices = int((owners[scans] == name).sum()) * table.features.shape[1]
            predicted = positive_label if joined[name] >= one.threshold else negative_label
            patients.append(
                (one.repeat, one.fold, name, label_of[name], joined[name], predicted, n_slices)
            )
        scores = expit(output.logits.astype(np.float64))
        slices.append(_slice_rows(one, table, scans, scores))
    slice_table = pd.concat(slices, ignore_index=True)
    order = ["repeat", "fold", "patient_id", "scan_id", "slice"]
    patient_table = pd.DataFrame(patients, columns=list(PatientScores.columns))
    return (
        PatientScores(table=patient_table.sort_values(order[:3], ignore_index=True)),
        SliceScores(table=slice_table.sort_values(order, ignore_index=True)),
    )


def _slice_rows(
    one: TrainedFold, table: FeatureTable, scans: IntArray, scores: npt.NDArray[np.float64]
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


@dataclasses.dataclass(kw_only=True)
class _InnerPlan:
    """The inner folds of one outer fold, and what they lead to."""

    train: IntArray
    assignment: IntArray
    fits: list[Fit]
    chosen: int = 0
    candidate_auc: list[float] = dataclasses.field(default_factory=list)
    threshold: float = 0.5


class _Job:
    """What all steps of one cross-validation share."""

    def __init__(
        self,
        head_spec: AnyHeadSpec,
        table: FeatureTable,
        folds: Folds,
        fold_spec: FoldSpec,
        prediction_spec: PredictionSpec,
        positive_label: str,
        seed: int,
    ) -> None:
        self.head_spec = head_spec
        self.table = table
        self.folds = folds
        self.fold_spec = fold_spec
        self.prediction_spec = prediction_spec
        self.aggregation = resolve_aggregation(prediction_spec, head_spec.kind)
        self.seed = seed
        position = {name: i for i, name in enumerate(folds.patient_ids)}
        self.owner = np.array([position[name] for name in table.patient_ids])
        self.patient_labels = np.array([int(lab == positive_label) for lab in folds.labels])
        self.labels: IntArray = self.patient_labels[self.owner]

    def mask(self, patients: IntArray) -> npt.NDArray[np.bool_]:
        """All slices of all scans of some patients."""
        scans = np.isin(self.owner, patients)
        return np.repeat(scans[:, None], self.table.features.shape[1], axis=1)

    def outer_fit(self, fold: OuterFold) -> Fit:
        """Ask for a head on all training patients."""
        return Fit(train=self.mask(fold.train), seed=derive_seed(self.seed, fold.repeat, fold.fold))

    def inner_plan(self, fold: OuterFold) -> _InnerPlan:
        """Split the training patients, if there is anything to choose."""
        fixed = self.prediction_spec.threshold != "inner"
        plan = _InnerPlan(train=fold.train, assignment=np.zeros(0, dtype=np.int64), fits=[])
        if isinstance(self.prediction_spec.threshold, float):
            plan.threshold = self.prediction_spec.threshold
        if fixed and len(self.head_spec.candidates) == 1:
            return plan
        place = (self.seed, fold.repeat, fold.fold)
        plan.assignment = inner_folds(
            self.patient_labels[fold.train],
            n_folds=self.fold_spec.n_inner_folds,
            seed=derive_seed(*place, 0) % 2**32,
        )
        plan.fits = [
            Fit(
                train=self.mask(fold.train[plan.assignment != inner]),
                seed=derive_seed(*place, 1, int(inner)),
            )
            for inner in np.unique(plan.assignment)
        ]
        return plan

    def score_inner(
        self, plans: Sequence[_InnerPlan], fits: Sequence[Fit], report: Callable[[int], None]
    ) -> None:
        """Fit the inner heads, and set each plan's choice and threshold from their scores."""
        n_candidates = len(self.head_spec.candidates)
        place = [(p, k) for p, plan in enumerate(plans) for k in range(len(plan.fits))]
        scores = [np.full((n_candidates, len(plan.train)), np.nan) for plan in plans]
        for i, candidate, head in fit_heads(self.head_spec, self.table, self.labels, fits):
            p, inner = place[i]
            held_out = plans[p].assignment == inner
            scores[p][candidate, held_out] = self._scores_of(head, plans[p].train[held_out])
            report(i + 1)
        for plan, values in zip(plans, scores, strict=True):
            if plan.fits:
                self._choose(plan, values)

    def _scores_of(self, head: Head, patients: IntArray) -> npt.NDArray[np.float64]:
        scans = np.flatnonzero(np.isin(self.owner, patients))
        names = [self.folds.patient_ids[i] for i in self.owner[scans]]
        output = apply_head(head, self.table.features[scans])
        joined = join_slices(output, names, self.aggregation)
        return np.array([joined[self.folds.patient_ids[i]] for i in patients])

    def _choose(self, plan: _InnerPlan, scores: npt.NDArray[np.float64]) -> None:
        """Take the candidate with the best mean AUC over inner folds; ties to the simpler.

        The mean over folds, not the pooled AUC: strong penalties shift whole folds against each
        other, which the pooled figure would read as poor ranking.
        """
        labels = self.patient_labels[plan.train]
        inner = [plan.assignment == k for k in np.unique(plan.assignment)]
        plan.candidate_auc = [
            float(np.mean([auc(labels[held], values[held]) for held in inner])) for values in scores
        ]
        plan.chosen = int(np.argmax(np.round(plan.candidate_auc, 6)))
        if self.prediction_spec.threshold == "inner":
            plan.threshold = float(youden_threshold(labels, scores[plan.chosen]))

    def facts(self, fold: OuterFold, plan: _InnerPlan) -> Mapping[str, Any]:
        """Return what is written beside a head."""
        seen = np.isin(self.owner, fold.train)
        return {
            "repeat": fold.repeat,
            "fold": fold.fold,
            "aggregation": self.aggregation,
            "candidates": list(self.head_spec.candidates),
            "chosen": plan.chosen,
            "inner_auc": plan.candidate_auc,
            "threshold": plan.threshold,
            "threshold_from": (
                "Youden's index on inner predictions of the training patients"
                if self.prediction_spec.threshold == "inner"
                else "fixed by the configuration"
            ),
            "training_patients": [self.folds.patient_ids[i] for i in fold.train],
            "training_scans": [self.table.scan_ids[i] for i in np.flatnonzero(seen)],
        }
