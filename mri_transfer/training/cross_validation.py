"""Cross-validation by patient: heads fitted per fold, with every choice made inside training.

For each outer fold the training patients are split again. Their inner scores, made by heads that
had not seen them, choose the procedure (`search`), the recalibration and the decision threshold;
then the chosen procedure is fitted on all training patients. Test patients take part in none of
this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from mri_transfer.metrics.discrimination import auc, youden_threshold
from mri_transfer.metrics.operating_targets import threshold_for
from mri_transfer.models.aggregation import join_slices
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import Fit, Head, apply_head, fit_heads
from mri_transfer.models.recalibration import Recalibration, choose_recalibration, fit_recalibration
from mri_transfer.training.fitted_model import FittedModel, Harmonise, Harmoniser, predict_folds
from mri_transfer.training.folds import Folds, FoldSpec, OuterFold, inner_folds
from mri_transfer.training.predictions import (
    InnerScores,
    PatientScores,
    PredictionSpec,
    SliceScores,
    parse_target,
)
from mri_transfer.training.search import FoldSearch, Hyperparameters, SearchSpec

__all__ = ["CrossValidation", "Harmonise", "cross_validate", "derive_seed"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Tables = Mapping[str, FeatureTable]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Heads, held-out scores of every outer fold, and the inner scores of its training patients."""

    trained: tuple[FittedModel, ...]
    patients: PatientScores
    slices: SliceScores
    inner: InnerScores


def derive_seed(seed: int, *place: int) -> int:
    """Return a seed of its own for a place (repeat, fold, ...) under the run's seed."""
    state = np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def cross_validate(
    procedure: Hyperparameters,
    tables: Tables,
    folds: Folds,
    *,
    fold_spec: FoldSpec,
    prediction_spec: PredictionSpec,
    search_spec: SearchSpec,
    positive_label: str,
    negative_label: str,
    seed: int,
    harmonise: Harmonise | None = None,
    only: Collection[tuple[int, int]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Fit a head per outer fold and score the patients it did not see.

    Parameters
    ----------
    procedure : Hyperparameters
        The configured one, which the search may replace.
    tables : mapping of str to FeatureTable
        By pooling: features of the scans of every patient in `folds`.
    folds : Folds
    fold_spec : FoldSpec
        `n_inner_folds` is used.
    prediction_spec : PredictionSpec
    search_spec : SearchSpec
    positive_label, negative_label : str
    seed : int
    harmonise : Harmonise, optional
        Takes sites out of the features, fitted on the training patients of every fit.
    only : collection of (repeat, fold), optional
        Leave out all other outer folds.
    progress : callable, optional
        Called with the number of fits done and the number in all.

    Returns
    -------
    CrossValidation
    """
    job = _Job(
        tables, folds, fold_spec, prediction_spec, search_spec, positive_label, seed, harmonise
    )
    outer = [one for one in folds if only is None or (one.repeat, one.fold) in only]
    plans = [job.plan(fold, procedure) for fold in outer]
    counter = _Counter(plans, progress)
    job.search(plans, counter)
    trained = job.fit_outer(plans, counter)
    patients, slices = predict_folds(
        trained, tables, folds, positive_label=positive_label, negative_label=negative_label
    )
    inner = pd.concat([job.inner_rows(*both) for both in zip(plans, trained, strict=True)])
    return CrossValidation(
        trained=trained, patients=patients, slices=slices, inner=InnerScores(table=inner)
    )


@dataclasses.dataclass(kw_only=True)
class _Plan:
    """One outer fold: how its training patients are split, and what that leads to."""

    outer: OuterFold
    base: Hyperparameters
    assignment: IntArray
    fits: list[Fit]
    search: FoldSearch | None
    scores: dict[Hyperparameters, FloatArray] = dataclasses.field(default_factory=dict)

    @property
    def train(self) -> IntArray:
        """Positions of the training patients."""
        return self.outer.train

    @property
    def n_rounds(self) -> int:
        """How many procedures are asked for."""
        return self.search.n_trials if self.search else min(len(self.fits), 1)

    def held_out(self) -> list[npt.NDArray[np.bool_]]:
        """Which training patients each inner fold holds out."""
        return [self.assignment == inner for inner in np.unique(self.assignment)]

    def chosen(self) -> Hyperparameters:
        """Return what the search found, or what was configured."""
        if self.search is None:
            return self.base
        n_test = len(self.train) // len(self.fits)
        return self.search.choose(n_train=len(self.train) - n_test, n_test=n_test)


class _Counter:
    """Counts fits; a procedure that the search asks for again costs none and counts as done."""

    def __init__(self, plans: Sequence[_Plan], progress: Callable[[int, int], None] | None) -> None:
        self._done = 0
        self._total = sum(1 + plan.n_rounds * len(plan.fits) for plan in plans)
        self._progress = progress

    def add(self, n: int) -> None:
        self._done += n
        if self._progress is not None:
            self._progress(self._done, self._total)


class _Job:
    """What all steps of one cross-validation share."""

    def __init__(
        self,
        tables: Tables,
        folds: Folds,
        fold_spec: FoldSpec,
        prediction_spec: PredictionSpec,
        search_spec: SearchSpec,
        positive_label: str,
        seed: int,
        harmonise: Harmonise | None,
    ) -> None:
        # In an order of its own: sums over scans must not depend on a manifest's rows.
        self.tables = {name: table.sorted() for name, table in tables.items()}
        self.folds = folds
        self.fold_spec = fold_spec
        self.prediction_spec = prediction_spec
        self.search_spec = search_spec
        self.seed = seed
        self.harmonise = harmonise
        # Every pooling has the same scans in the same order.
        self.scans = next(iter(self.tables.values()))
        position = {name: i for i, name in enumerate(folds.patient_ids)}
        self.owner = np.array([position[name] for name in self.scans.patient_ids])
        self.patient_labels = np.array([int(lab == positive_label) for lab in folds.labels])
        self.labels: IntArray = self.patient_labels[self.owner]

    def mask(self, patients: IntArray) -> npt.NDArray[np.bool_]:
        """All slices of all scans of some patients."""
        scans = np.isin(self.owner, patients)
        return np.repeat(scans[:, None], self.scans.features.shape[1], axis=1)

    def plan(self, outer: OuterFold, base: Hyperparameters) -> _Plan:
        """Split the training patients, if there is anything to choose inside them."""
        plan = _Plan(
            outer=outer, base=base, assignment=np.zeros(0, dtype=np.int64), fits=[], search=None
        )
        searching = bool(self.search_spec.for_head(base.head.kind))
        if not (searching or self.prediction_spec.needs_inner_scores):
            return plan
        place = (self.seed, outer.repeat, outer.fold)
        plan.assignment = inner_folds(
            self.patient_labels[outer.train],
            n_folds=self.fold_spec.n_inner_folds,
            seed=derive_seed(*place, 0) % 2**32,
        )
        plan.fits = [
            Fit(
                train=self.mask(outer.train[plan.assignment != inner]),
                seed=derive_seed(*place, 1, int(inner)),
            )
            for inner in np.unique(plan.assignment)
        ]
        if searching:
            plan.search = FoldSearch(self.search_spec, base, seed=derive_seed(*place, 2))
        return plan

    def fitted(
        self, procedure: Hyperparameters, fits: Sequence[Fit]
    ) -> Iterator[tuple[int, Head, Harmoniser | None]]:
        """Fit heads; with harmonisation one by one, since each has features of its own."""
        table = self.tables[procedure.pooling]
        if self.harmonise is None:
            for i, head in fit_heads(procedure.head, table, self.labels, fits):
                yield i, head, None
            return
        for i, fit in enumerate(fits):
            scans = np.flatnonzero(fit.train.any(axis=1))
            owners = [table.patient_ids[k] for k in scans]
            harmoniser = Harmoniser.fit(self.harmonise, table, scans)
            # The fit sees these scans and no others; the rest stays empty.
            features = np.zeros_like(table.features)
            features[scans] = harmoniser.apply(table.features[scans], owners)
            own = dataclasses.replace(table, features=features)
            for _, head in fit_heads(procedure.head, own, self.labels, [fit]):
                yield i, head, harmoniser

    def search(self, plans: Sequence[_Plan], counter: _Counter) -> None:
        """Let every fold try procedures, in step, so that folds that agree are fitted together."""
        for turn in range(max((plan.n_rounds for plan in plans), default=0)):
            asked: dict[Hyperparameters, list[_Plan]] = {}
            for plan in plans:
                if turn < plan.n_rounds:
                    procedure = plan.search.ask() if plan.search else plan.base
                    asked.setdefault(procedure, []).append(plan)
            for procedure, group in asked.items():
                new = [plan for plan in group if procedure not in plan.scores]
                self._score_inner(procedure, new, counter)
                counter.add(sum(len(plan.fits) for plan in group if plan not in new))
                for plan in group:
                    if plan.search is not None:
                        plan.search.tell(procedure, self._inner_aucs(plan, procedure))

    def _score_inner(
        self, procedure: Hyperparameters, plans: Sequence[_Plan], counter: _Counter
    ) -> None:
        """Fit a procedure on the inner folds of some plans and score who they hold out."""
        place = [(plan, k) for plan in plans for k in range(len(plan.fits))]
        fits = [fit for plan in plans for fit in plan.fits]
        for plan in plans:
            plan.scores[procedure] = np.full(len(plan.train), np.nan)
        table = self.tables[procedure.pooling]
        for i, head, harmoniser in self.fitted(procedure, fits):
            plan, inner = place[i]
            held_out = plan.held_out()[inner]
            patients = plan.train[held_out]
            scans = np.flatnonzero(np.isin(self.owner, patients))
            names = [self.folds.patient_ids[owner] for owner in self.owner[scans]]
            features = table.features[scans]
            if harmoniser is not None:
                features = harmoniser.apply(features, names)
            joined = join_slices(apply_head(head, features), names, procedure.joining)
            plan.scores[procedure][held_out] = [
                joined[self.folds.patient_ids[patient]] for patient in patients
            ]
            counter.add(1)

    def _inner_aucs(self, plan: _Plan, procedure: Hyperparameters) -> list[float]:
        """AUC of each inner fold.

        Not the pooled AUC: strong penalties shift whole folds against each other, which the
        pooled figure would read as poor ranking.
        """
        labels, scores = self.patient_labels[plan.train], plan.scores[procedure]
        return [float(auc(labels[held], scores[held])) for held in plan.held_out()]

    def fit_outer(self, plans: Sequence[_Plan], counter: _Counter) -> tuple[FittedModel, ...]:
        """Fit each fold's chosen procedure on all its training patients."""
        groups: dict[Hyperparameters, list[_Plan]] = {}
        for plan in plans:
            groups.setdefault(plan.chosen(), []).append(plan)
        trained: dict[tuple[int, int], FittedModel] = {}
        for procedure, group in groups.items():
            fits = [
                Fit(
                    train=self.mask(plan.train),
                    seed=derive_seed(self.seed, plan.outer.repeat, plan.outer.fold),
                )
                for plan in group
            ]
            for i, head, harmoniser in self.fitted(procedure, fits):
                facts = self._facts(group[i], procedure)
                place = (group[i].outer.repeat, group[i].outer.fold)
                trained[place] = FittedModel(
                    repeat=place[0],
                    fold=place[1],
                    head=dataclasses.replace(head, facts=facts),
                    harmoniser=harmoniser,
                )
                counter.add(1)
        return tuple(trained[plan.outer.repeat, plan.outer.fold] for plan in plans)

    def _recalibrated(
        self, plan: _Plan, procedure: Hyperparameters
    ) -> tuple[Recalibration, dict[str, float], FloatArray]:
        """Choose and fit the recalibration; return the inner scores it leads to."""
        methods = self.prediction_spec.recalibration
        labels = self.patient_labels[plan.train]
        if not plan.fits:
            unchanged = fit_recalibration("none", labels, np.full(len(labels), 0.5))
            return unchanged, {}, np.zeros(0)
        scores = plan.scores[procedure]
        # One thread sums in the same order on any number of cores.
        with threadpool_limits(limits=1):
            recalibration, losses = choose_recalibration(
                labels, scores, plan.assignment, methods=methods
            )
        return recalibration, losses, recalibration.apply(scores)

    def inner_rows(self, plan: _Plan, trained: FittedModel) -> pd.DataFrame:
        """Rows of `predictions/inner.csv` of one outer fold; none if nothing was chosen in it."""
        scores = np.zeros(0)
        if plan.fits:
            scores = trained.recalibration.apply(plan.scores[plan.chosen()])
        return pd.DataFrame(
            {
                "repeat": plan.outer.repeat,
                "fold": plan.outer.fold,
                "inner_fold": plan.assignment,
                "patient_id": [self.folds.patient_ids[i] for i in plan.train[: len(scores)]],
                "score": scores,
            }
        )

    def _facts(self, plan: _Plan, procedure: Hyperparameters) -> dict[str, Any]:
        """Return what is written beside a head."""
        seen = np.flatnonzero(np.isin(self.owner, plan.train))
        recalibration, losses, scores = self._recalibrated(plan, procedure)
        labels = self.patient_labels[plan.train]
        facts = {
            "repeat": plan.outer.repeat,
            "fold": plan.outer.fold,
            "procedure": procedure.as_dict(),
            "trials": self._trials(plan, procedure),
            "recalibration": recalibration.as_dict(),
            "recalibration_log_loss": losses,
            **self._thresholds(labels, scores),
            "training_patients": [self.folds.patient_ids[i] for i in plan.train],
            "training_scans": {self.scans.scan_ids[i]: self.scans.scan_sha256[i] for i in seen},
        }
        return facts

    def _trials(self, plan: _Plan, chosen: Hyperparameters) -> list[dict[str, Any]]:
        """Every procedure that was tried, in the order of trying."""
        return [
            {
                "procedure": procedure.as_dict(),
                "inner_auc": self._inner_aucs(plan, procedure),
                "configured": procedure == plan.base,
                "chosen": procedure == chosen,
            }
            for procedure in plan.scores
        ]

    def _thresholds(self, labels: IntArray, scores: FloatArray) -> dict[str, Any]:
        spec = self.prediction_spec
        if isinstance(spec.threshold, float):
            threshold, source = spec.threshold, "fixed by the configuration"
        else:
            threshold = float(youden_threshold(labels, scores))
            source = "Youden's index on inner scores of the training patients"
        targets = {}
        if len(scores):
            for name in spec.targets:
                target, at = parse_target(name)
                targets[name] = float(threshold_for(labels, scores, target=target, at=at))
        return {
            "threshold": threshold,
            "threshold_from": source,
            "target_thresholds": targets,
        }
