"""One fit: all that is chosen and fitted on the patients that a view shows.

The training patients are split again; their inner scores, made by heads that had not seen them,
choose the hyperparameters (`search`), the recalibration and the decision threshold; then the head
is fitted on all of them. Where a tail is trained (`tuning`), each inner fold trains one, then so
does the fit, and heads are fitted to the features that the tail makes. Whoever the view does not
show takes part in none of this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import ConfigurationError
from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.harmonisation import HarmonisationSpec, fit_combat
from mri_transfer.models.heads import Head, fit_head
from mri_transfer.models.recalibration import Recalibration
from mri_transfer.models.tails.fitting import TailFit
from mri_transfer.models.tails.tail import Tail
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.decision import decide
from mri_transfer.training.fit_record import FitRecord, TuningRecord
from mri_transfer.training.fitted_model import FittedModel, Harmoniser, patient_scores
from mri_transfer.training.folds import derive_seed, inner_folds
from mri_transfer.training.search import FoldSearch, Hyperparameters, SearchSpec, count_trials
from mri_transfer.training.settings import PredictionSpec
from mri_transfer.training.tuning import (
    InnerTail,
    TailPlan,
    chosen_epochs,
    fit_inner_tail,
    fit_outer_tail,
    tuning_record,
)

__all__ = ["FitModel", "FitRequest", "FitResult", "Run", "fit_model"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
T = TypeVar("T")
U = TypeVar("U")


class Run(Protocol):
    """`map`, or the same on several threads; results come in order."""

    def __call__(self, function: Callable[[T], U], items: Iterable[T], /) -> Iterable[U]:
        """Apply a function to every item."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitRequest:
    """How a model is fitted, and what may be chosen on the way.

    Attributes
    ----------
    hyperparameters : Hyperparameters
        The configured ones, which the search may replace.
    predictions : PredictionSpec
    search : SearchSpec
    harmonisation : HarmonisationSpec
    tail : TailPlan, optional
        What is trained behind the cut; the trunk stays frozen where nothing is given.
    n_inner_folds : int
        Where no tail is trained, which has its own number.
    seed : int
        Of the run.
    place : tuple of int
        What tells this fit's seeds from those of others, such as its repeat and fold.
    device : {"auto", "cpu", "cuda"}
        Where networks are trained.
    """

    hyperparameters: Hyperparameters
    predictions: PredictionSpec
    search: SearchSpec = dataclasses.field(default_factory=lambda: SearchSpec(space="none"))
    harmonisation: HarmonisationSpec = dataclasses.field(default_factory=HarmonisationSpec)
    tail: TailPlan | None = None
    n_inner_folds: int = 5
    seed: int = 0
    place: tuple[int, ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @property
    def searches(self) -> bool:
        """Whether other hyperparameters are tried."""
        return bool(self.search.for_head(self.hyperparameters.head.kind))

    @property
    def chooses(self) -> bool:
        """Whether anything is chosen inside training patients."""
        return self.searches or self.predictions.needs_inner_scores

    def seed_of(self, *step: int) -> int:
        """Return the seed of a step of this fit."""
        return derive_seed(self.seed, *self.place, *step)

    def n_fits(self, labels: IntArray) -> int:
        """Return how many heads and tails are fitted on training patients with these labels."""
        n_tails = 0 if self.tail is None else 1
        if not self.chooses:
            return 1 + n_tails
        n_inner = min(self.n_inner, int(np.bincount(labels, minlength=2).min()))
        n_trials = count_trials(self.search, self.hyperparameters) if self.searches else 1
        return 1 + n_tails + n_inner * (n_trials + n_tails)

    @property
    def n_inner(self) -> int:
        """Folds inside the training patients."""
        return self.n_inner_folds if self.tail is None else self.tail.spec.inner_folds


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FitResult:
    """A fitted model, and the inner scores that its choices rest on.

    Attributes
    ----------
    model : FittedModel
    patient_ids : tuple of str
        The training patients, sorted.
    inner_folds : ndarray of int64, shape (n_patients,) or (0,)
        Which inner fold held each of them out; empty where nothing was chosen.
    inner_scores : ndarray of float64, of the same shape
        By the heads that had not seen them; not recalibrated.
    """

    model: FittedModel
    patient_ids: tuple[str, ...]
    inner_folds: IntArray
    inner_scores: FloatArray


class FitModel(Protocol):
    """`fit_model`, or what returns the same."""

    def __call__(
        self,
        view: TrainingView,
        request: FitRequest,
        *,
        run: Run = ...,
        fitted: Callable[[int], None] = ...,
    ) -> FitResult:
        """Choose and fit a model on the patients of a view."""


def fit_model(
    view: TrainingView,
    request: FitRequest,
    *,
    run: Run = map,
    fitted: Callable[[int], None] = lambda _: None,
) -> FitResult:
    """Choose and fit a model on the patients of a view.

    Parameters
    ----------
    view : TrainingView
    request : FitRequest
    run : Run
        Runs the fits of heads; `map` where nothing else is given.
    fitted : callable
        Told how many heads and tails have been fitted since the last call.

    Returns
    -------
    FitResult

    Raises
    ------
    HeadError, FoldError
        If the patients cannot support what is asked for.
    ConfigurationError
        If sites are to be harmonised and the view has no covariates; if there are instances, and a
        tail is trained or sites are harmonised.
    """
    if view.instances is not None:
        _demand_plain(request)
    inner = _InnerFits(view, request, run, fitted) if request.chooses else None
    chosen = request.hyperparameters if inner is None else inner.choose()
    tail, tuning, tuned = _fit_tail(view, chosen, request, inner, run, fitted)
    head, harmoniser = next(
        iter(run(lambda seed: _fit_head(tuned, chosen, request, seed), [request.seed_of()]))
    )
    fitted(1)
    scores = np.zeros(0) if inner is None else inner.scores[chosen]
    assignment = np.zeros(0, dtype=np.int64) if inner is None else inner.assignment
    decision = decide(
        request.predictions,
        view.is_positive,
        scores,
        assignment,
        whose="inner scores of the training patients",
    )
    record = FitRecord(
        hyperparameters=chosen,
        trials=[] if inner is None else inner.trials(chosen),
        training_patients=list(view.patient_ids),
        training_scans=dict(zip(view.scans.scan_ids, view.scans.scan_sha256, strict=True)),
        tuning=tuning,
        instances=None if view.instances is None else view.instances.record,
        **vars(decision),
    )
    model = FittedModel(repeat=0, fold=0, head=head, harmoniser=harmoniser, tail=tail)
    return FitResult(
        model=model.with_record(record),
        patient_ids=view.patient_ids,
        inner_folds=assignment,
        inner_scores=scores,
    )


def _demand_plain(request: FitRequest) -> None:
    """Refuse what is not fitted to instances: they weigh in heads alone."""
    for where, asked in (
        ("tuning.strategy", request.tail is not None),
        ("harmonisation.kind", request.harmonisation.kind != "none"),
    ):
        if asked:
            raise ConfigurationError(
                "instances of another cohort are weighed in heads on features as they are",
                where=where,
                expected="frozen" if where.startswith("tuning") else "none",
                remedy="Leave instances.manifest empty, or change this setting",
            )


def _fit_head(
    view: TrainingView, chosen: Hyperparameters, request: FitRequest, seed: int
) -> tuple[Head, Harmoniser | None]:
    """Fit harmonisation and head on all that a view shows; nothing is chosen."""
    table, harmoniser = view.tables[chosen.pooling], None
    if request.harmonisation.kind != "none":
        harmoniser = _fit_harmoniser(view, table, request.harmonisation)
        features = harmoniser.apply(table.features, table.patient_ids)
        features[~view.slices] = 0.0
        table = dataclasses.replace(table, features=features)
    labels, slices, weights = view.scan_is_positive, view.slices, None
    if view.instances is not None:
        table, labels, slices, weights = view.instances.beside(
            chosen.pooling, table, labels, slices, view.positive
        )
    head = fit_head(
        chosen.head,
        table,
        labels,
        slices=slices,
        weights=weights,
        seed=seed,
        device=request.device,
    )
    return head, harmoniser


def _fit_harmoniser(view: TrainingView, table: FeatureTable, spec: HarmonisationSpec) -> Harmoniser:
    if view.covariates is None:
        raise ConfigurationError(
            "sites are to be harmonised, and the covariates of the patients are not known",
            where="harmonisation.kind",
            found=spec.kind,
            expected="features with covariates, or `none`",
        )
    known = view.covariates.loc[list(table.patient_ids)]
    features: npt.NDArray[np.floating[Any]] = table.features
    if not view.slices.all():
        # ComBat is fitted on each scan's mean: that of the slices that may be seen.
        features = features.mean(axis=1, dtype=np.float64, where=view.slices[..., None])
    return Harmoniser(combat=fit_combat(features, known, spec=spec), covariates=view.covariates)


def _fit_tail(
    view: TrainingView,
    chosen: Hyperparameters,
    request: FitRequest,
    inner: _InnerFits | None,
    run: Run,
    fitted: Callable[[int], None],
) -> tuple[Tail | None, TuningRecord | None, TrainingView]:
    """Return the fit's tail, what is written about it, and the view that its head is fitted to."""
    plan = request.tail
    if plan is None:
        return None, None, view
    tails = [] if inner is None else inner.tails
    n_epochs = chosen_epochs(tails, plan.spec)

    def fit(seed: int) -> tuple[TailFit, TrainingView]:
        return fit_outer_tail(view, plan, pooling=chosen.pooling, seed=seed, n_epochs=n_epochs)

    ((found, tuned),) = run(fit, [request.seed_of(5)])
    fitted(1)
    return found.tails[-1], tuning_record(plan, found, tails), tuned


class _InnerFits:
    """Fits on folds inside a view, and the scores of the patients that each holds out."""

    def __init__(
        self, view: TrainingView, request: FitRequest, run: Run, fitted: Callable[[int], None]
    ) -> None:
        self.view, self.request, self.run, self.fitted = view, request, run, fitted
        self.names = np.array(view.patient_ids, dtype=object)
        self.labels = view.is_positive
        self.assignment = inner_folds(
            self.labels, n_folds=request.n_inner, seed=request.seed_of(0) % 2**32
        )
        self.folds = np.unique(self.assignment).tolist()
        #: Of every training patient, by what was tried, in the order of trying.
        self.scores: dict[Hyperparameters, FloatArray] = {}
        #: Where a tail is trained: of each inner fold one, and the features that they make.
        self.tails: list[InnerTail] = []
        self._tuned: dict[int, tuple[TrainingView, LabelledFeatures]] = {}
        if request.tail is not None:
            self._fit_tails(request.tail)

    def _fit_tails(self, plan: TailPlan) -> None:
        """Train a tail for each inner fold; the number of epochs is chosen over all of them."""

        def fit(fold: int) -> InnerTail:
            return fit_inner_tail(
                self.view,
                self.names[self.assignment == fold],
                plan,
                pooling=self.request.hyperparameters.pooling,
                seed=self.request.seed_of(6, fold),
            )

        for tail in self.run(fit, self.folds):
            self.tails.append(tail)
            self.fitted(1)
        n_epochs = chosen_epochs(self.tails, plan.spec)
        tuned = self.run(lambda tail: tail.tuned(n_epochs), self.tails)
        self._tuned = dict(zip(self.folds, tuned, strict=True))

    def _parts(self, fold: int) -> tuple[TrainingView, LabelledFeatures]:
        """Return what a fit without one inner fold may see, and the patients that it leaves."""
        if self._tuned:
            return self._tuned[fold]
        held = self.assignment == fold
        return self.view.view(self.names[~held]), self.view.only(self.names[held])

    def choose(self) -> Hyperparameters:
        """Return what the search finds, or what is configured; its scores are known then."""
        configured = self.request.hyperparameters
        if not self.request.searches:
            self._try(configured)
            return configured
        search = FoldSearch(self.request.search, configured, seed=self.request.seed_of(2))
        for _ in range(search.n_trials):
            asked = search.ask()
            self._try(asked)
            search.tell(asked, self._aucs(asked))
        n_test = len(self.names) // len(self.folds)
        return search.choose(n_train=len(self.names) - n_test, n_test=n_test)

    def _try(self, tried: Hyperparameters) -> None:
        if tried in self.scores:
            # It costs nothing again.
            self.fitted(len(self.folds))
            return
        scores = np.full(len(self.names), np.nan)
        held_out = self.run(lambda fold: self._held_out(tried, fold), self.folds)
        for fold, found in zip(self.folds, held_out, strict=True):
            scores[self.assignment == fold] = found
            self.fitted(1)
        self.scores[tried] = scores

    def _held_out(self, tried: Hyperparameters, fold: int) -> FloatArray:
        """Fit without one inner fold and score its patients."""
        view, held_out = self._parts(fold)
        head, harmoniser = _fit_head(view, tried, self.request, self.request.seed_of(1, fold))
        unchanged = FitRecord(
            hyperparameters=tried, recalibration=Recalibration("none", {}), threshold=0.5
        )
        model = FittedModel(repeat=0, fold=fold, head=head, harmoniser=harmoniser)
        return patient_scores(model.with_record(unchanged), held_out)

    def _aucs(self, tried: Hyperparameters) -> list[float]:
        """AUC of each inner fold: pooled, strong penalties, which shift folds, would look poor."""
        held = [self.assignment == fold for fold in self.folds]
        return [float(auc(self.labels[own], self.scores[tried][own])) for own in held]

    def trials(self, chosen: Hyperparameters) -> list[dict[str, Any]]:
        """Return everything that was tried, in the order of trying."""
        return [
            {
                "procedure": tried.as_dict(),
                "inner_auc": self._aucs(tried),
                "configured": tried == self.request.hyperparameters,
                "chosen": tried == chosen,
            }
            for tried in self.scores
        ]
